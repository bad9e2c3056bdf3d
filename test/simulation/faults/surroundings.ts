// Disks that are full, a shared volume out of reach, wall clocks that jump.
import { type FaultContext, hourMs } from "./context.ts";

const yearMs = 365 * 24 * hourMs;

export class SurroundingFaults {
  readonly #at: FaultContext;
  controlPlaneOffsetMs = 0;
  readonly #hostOffsetMs = new Map<string, number>();

  constructor(context: FaultContext) {
    this.#at = context;
  }

  readonly happenings = {
    diskFull: () => {
      const host = this.#at.anyHost();
      this.#at.note(() => `${host.hostId}: the disk is full`);
      host.disk.failing = true;
      host.gate.failing = this.#at.random.chance(0.7);
      this.#at.later(() => {
        host.disk.failing = false;
        host.gate.failing = false;
      });
    },
    volumeGone: () => {
      const { locks } = this.#at.simulation;
      this.#at.note(() => "the shared volume cannot be reached");
      locks.unreachable = true;
      this.#at.later(() => {
        locks.unreachable = false;
      });
    },
    wallJumps: () => {
      const { random } = this.#at;
      const jumpMs = Math.round(
        random.chance(0.3) ? random.between(-10, 10) * yearMs : random.between(-100_000, 100_000),
      );
      if (random.chance(0.5)) {
        this.#at.note(() => `control plane: its clock jumps by ${Math.round(jumpMs / 1000)} s`);
        this.controlPlaneOffsetMs += jumpMs;
        if (this.controlPlaneOffsetMs < -20 * yearMs) this.controlPlaneOffsetMs = 0;
        return;
      }
      const { hostId } = this.#at.anyHost();
      this.#at.note(() => `${hostId}: its wall clock jumps by ${Math.round(jumpMs / 1000)} s`);
      this.#hostOffsetMs.set(hostId, this.hostOffsetMs(hostId) + jumpMs);
    },
  };

  hostOffsetMs(hostId: string): number {
    return this.#hostOffsetMs.get(hostId) ?? 0;
  }

  putRight(): void {
    this.#at.simulation.locks.unreachable = false;
    for (const host of this.#at.hosts) {
      host.disk.failing = false;
      host.gate.failing = false;
    }
  }
}
