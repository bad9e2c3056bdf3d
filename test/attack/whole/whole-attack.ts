// A whole cluster of real processes under attack: one connection of a live migration goes through a fault proxy, and it
// is seen what comes of the migration, of its guest, and of all that the hosts had open for it.
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { migrationAddress } from "../../../cli/cluster/cluster.ts";
import { sameGuest } from "../../killing/cell.ts";
import { executedAtOnce, leftBehind } from "../../killing/checks.ts";
import { firstGuest, limits, requestMove, until, untilEnded, untilRuns } from "../../killing/guest.ts";
import { World } from "../../killing/world.ts";
import { type Direction, type Fault, type FaultProxy, startFaultProxy } from "../../support/fault-proxy.ts";
import { type Connection, type Endpoint, type Route, routeName, targetName } from "./route.ts";
import { tcpSocketsOf } from "./sockets-of.ts";

const proxyAddress = "127.0.0.30";
/** The machine is shared: what is waited for takes seconds on a quiet one. */
const settleMs = 60_000;
/** The source tries for 30 s to connect, and gives a stream up that stands still for 40 s (docs/wire.md). */
const usualEndMs = 90_000;

export type Wire = { connection: Connection; way: Direction; fault: Fault };
export type WholeEnd = {
  outcome: "migrated" | "aborted";
  /** Of the record: reason and detail; null when it migrated. */
  why: string | null;
  durationMs: number;
  seen: FaultProxy["seen"];
  recorded: FaultProxy["recorded"];
  hit: boolean;
};

export class WholeAttack {
  readonly #world: World;

  private constructor(world: World) {
    this.#world = world;
  }

  static async start(): Promise<WholeAttack> {
    const route = pathToFileURL(join(import.meta.dirname, "route.ts"));
    const world = await World.start({ hypervisor: "embedded", agents: { NODE_OPTIONS: `--import=${route.href}` } });
    try {
      await firstGuest(world);
      return new WholeAttack(world);
    } catch (error) {
      await world.stop();
      throw error;
    }
  }

  /** One migration, to the other host.
   *  @throws with what did not hold */
  async run({ connection, way, fault }: Wire, { record = false, endsWithinMs = usualEndMs } = {}): Promise<WholeEnd> {
    const world = this.#world;
    const before = await untilRuns(world, settleMs);
    const source = before.owner?.hostId ?? "";
    const destination = world.hosts.find((host) => host !== source) ?? "";
    const folder = world.haltFolder(source);
    const proxy = await startFaultProxy({
      listen: { address: proxyAddress, port: 0 },
      to: () => JSON.parse(readFileSync(join(folder, targetName), "utf8")) as Endpoint,
      from: migrationAddress(world.hosts.indexOf(source)),
      fault,
      direction: way,
      record,
    });
    const route: Route = {
      peerPort: world.peerPort,
      connection,
      proxy: { address: proxyAddress, port: proxy.port },
    };
    writeFileSync(join(folder, routeName), JSON.stringify(route));
    try {
      const began = performance.now();
      const ended = await untilEnded(world, await requestMove(world, destination, limits), endsWithinMs);
      const durationMs = performance.now() - began;
      if (proxy.connections === 0) throw new Error("the connection did not go through the proxy");
      const hasMoved = ended.phase === "completed";
      const after = await untilRuns(world, settleMs);
      sameGuest(before, after);
      const owner = after.owner?.hostId ?? "nobody";
      if (owner !== (hasMoved ? destination : source))
        throw new Error(`the migration ended as ${ended.phase}, and the guest is on ${owner}`);
      const atOnce = executedAtOnce(world, new Set());
      if (atOnce.length > 0) throw new Error(atOnce.join("; "));
      // The proxy keeps its ends: nothing that it does frees the hosts'.
      await this.#nothingLeft(owner);
      return {
        outcome: hasMoved ? "migrated" : "aborted",
        why: hasMoved ? null : `${ended.reason}: ${ended.detail}`,
        durationMs,
        seen: { ...proxy.seen },
        recorded: proxy.recorded,
        hit: proxy.hit,
      };
    } finally {
      for (const name of [routeName, targetName]) rmSync(join(folder, name), { force: true });
      await proxy.close();
    }
  }

  async #nothingLeft(owner: string): Promise<void> {
    let left: string[] = [];
    await until("nothing is left behind", settleMs, async () => {
      left = [...(await leftBehind(this.#world, owner)), ...this.#leftOpen()];
      return left.length === 0;
    }).catch(() => {
      throw new Error(`left behind: ${left.join("; ")}`);
    });
  }

  /** Listeners and connections on the migration network. */
  #leftOpen(): string[] {
    const { hosts } = this.#world;
    const addresses = hosts.map((_, index) => migrationAddress(index));
    return hosts.flatMap((host) =>
      this.#world
        .processes(host)
        .flatMap(({ pid, kind }) =>
          tcpSocketsOf(pid, addresses).map(({ local, peer }) => `${host}: ${kind}'s socket ${local} to ${peer}`),
        ),
    );
  }

  describe(): string {
    return `${this.#world.logTails()}\n${this.#world.describe()}`;
  }

  async stop(): Promise<void> {
    await this.#world.stop();
  }
}
