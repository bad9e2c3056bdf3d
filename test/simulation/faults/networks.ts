// Who cannot reach whom: the migration network cut, deaf in one direction or slow; the control plane away for one host
// or for all.
import type { TestHost } from "../../support/cluster.ts";
import { type FaultContext, peerSilenceMs } from "./context.ts";

export class NetworkFaults {
  readonly #at: FaultContext;
  /** Directions of the migration network in which nothing arrives. */
  readonly #deaf = new Set<string>();

  constructor(context: FaultContext) {
    this.#at = context;
  }

  readonly happenings = {
    controlPlaneAway: () => {
      const { cluster } = this.#at.simulation;
      this.#at.note(() => "control plane: away for everyone");
      cluster.isControlPlaneAway = true;
      this.#at.later(() => {
        cluster.isControlPlaneAway = false;
      });
    },
    hostCutOff: () => {
      const host = this.#at.anyHost();
      this.cutOff(host);
      this.#at.later(() => {
        host.isCutOff = false;
      });
    },
    networkCut: () => {
      const [one, other] = this.#at.anyPair();
      this.cut(one, other, this.#at.random.chance(0.5));
      this.#at.later(() => this.mend(one, other));
    },
    networkOneWay: () => {
      const [one, other] = this.#at.anyPair();
      this.#at.note(() => `${one.hostId} to ${other.hostId}: nothing arrives`);
      this.#goDeaf([one, other]);
      this.#at.later(() => this.mend(one, other));
    },
    networkSlow: () => {
      const [one, other] = this.#at.anyPair();
      const { random } = this.#at;
      this.slow(one, other, random.between(100_000, 10_000_000), random.between(1, 500));
      this.#at.later(() => this.mend(one, other));
    },
  };

  isDeaf(direction: string): boolean {
    return this.#deaf.has(direction);
  }

  cutOff(host: TestHost): void {
    this.#at.note(() => `${host.hostId}: cannot reach the control plane`);
    host.isCutOff = true;
  }

  cut(one: TestHost, other: TestHost, silent: boolean): void {
    const { network, peerNetwork } = this.#at.simulation.cluster;
    this.#at.note(() => `${one.hostId} and ${other.hostId}: the migration network is cut${silent ? ", silently" : ""}`);
    network.cut(one.address, other.address, { silent });
    if (silent) this.#goDeaf([one, other], [other, one]);
    else peerNetwork.cut(one.address, other.address);
  }

  slow(one: TestHost, other: TestHost, bandwidthBytesPerSecond: number, latencyMs: number): void {
    this.#at.note(() => `${one.hostId} and ${other.hostId}: the migration network is slow`);
    const conditions = { bandwidthBytesPerSecond, latencyMs };
    this.#at.simulation.cluster.network.setConditions(one.address, other.address, conditions);
  }

  mend(one: TestHost, other: TestHost): void {
    const { network, peerNetwork } = this.#at.simulation.cluster;
    network.heal(one.address, other.address);
    network.setConditions(one.address, other.address, { bandwidthBytesPerSecond: 500_000_000, latencyMs: 0.2 });
    // What was lost on an ordered link cannot be made up for: such a link does not live on.
    const wasDeaf = [`${one.address} ${other.address}`, `${other.address} ${one.address}`].filter((direction) =>
      this.#deaf.delete(direction),
    );
    if (wasDeaf.length > 0) peerNetwork.cut(one.address, other.address);
    peerNetwork.mend(one.address, other.address);
  }

  putRight(): void {
    const { cluster } = this.#at.simulation;
    cluster.isControlPlaneAway = false;
    for (const host of this.#at.hosts) host.isCutOff = false;
    this.#deaf.clear();
    this.#at.hosts.forEach((one, index) => {
      for (const other of this.#at.hosts.slice(index + 1)) this.mend(one, other);
    });
  }

  #goDeaf(...directions: [TestHost, TestHost][]): void {
    const { peerNetwork } = this.#at.simulation.cluster;
    for (const [from, to] of directions) {
      const direction = `${from.address} ${to.address}`;
      this.#deaf.add(direction);
      peerNetwork.bar(from.address, to.address);
      this.#at.clock.after(peerSilenceMs, () => {
        if (this.#deaf.has(direction)) peerNetwork.cut(from.address, to.address);
      });
    }
  }
}
