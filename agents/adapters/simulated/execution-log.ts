// Who executed which guest, when, and from which memory: what a checker needs to see that two copies of a guest
// executed at once, or that a copy executed whose memory others have left behind.
import { countMemoryErrors, type Guest } from "./guest.ts";

export type Executor = { vmId: string; copyId: string; hostId: string };

/** `ceasedAtMs` is null while it executes. `fresh`: from its beginning, not going on from an earlier run. */
export type RunInterval = Executor & { beganAtMs: number; ceasedAtMs: number | null; fresh: boolean };

export type ExecutionFault = Executor & {
  kind: "two-at-once" | "stale-memory" | "memory-corrupt";
  atMs: number;
  detail: string;
};

export interface ExecutionLog {
  readonly intervals: readonly RunInterval[];
  readonly faults: readonly ExecutionFault[];
  /** The copies of a VM that execute at this instant. */
  executing(vmId: string): RunInterval[];
  /** The number of a VM's last run; 0 when it never ran. Only memory of this run may go on. */
  latestLineage(vmId: string): number;
  /** Called by the machine in the instant in which its guest begins to execute. */
  began(executor: Executor, guest: Guest, atMs: number): RunInterval;
  ceased(interval: RunInterval, atMs: number): void;
}

/** @param onFault told of every fault as it happens */
export function createExecutionLog(onFault: (fault: ExecutionFault) => void = () => {}): ExecutionLog {
  const intervals: RunInterval[] = [];
  const faults: ExecutionFault[] = [];
  const executingByVm = new Map<string, RunInterval[]>();
  const lineageByVm = new Map<string, number>();

  return {
    intervals,
    faults,
    executing: (vmId) => [...(executingByVm.get(vmId) ?? [])],
    latestLineage: (vmId) => lineageByVm.get(vmId) ?? 0,
    began: (executor, guest, atMs) => {
      const note = (kind: ExecutionFault["kind"], detail: string) => {
        const fault: ExecutionFault = { ...executor, kind, atMs, detail };
        faults.push(fault);
        onFault(fault);
      };
      const others = executingByVm.get(executor.vmId) ?? [];
      for (const other of others) {
        note(
          "two-at-once",
          `${executor.copyId} began on ${executor.hostId} while ${other.copyId} executes on ${other.hostId}`,
        );
      }
      const latest = lineageByVm.get(executor.vmId) ?? 0;
      const fresh = guest.device.lineage === null;
      if (!fresh && guest.device.lineage !== latest) {
        note("stale-memory", `its memory is of run ${guest.device.lineage}, the last one was ${latest}`);
      }
      const memoryErrors = countMemoryErrors(guest);
      if (memoryErrors > 0) note("memory-corrupt", `${memoryErrors} pages`);

      guest.device.lineage = latest + 1;
      lineageByVm.set(executor.vmId, latest + 1);
      const interval: RunInterval = { ...executor, beganAtMs: atMs, ceasedAtMs: null, fresh };
      intervals.push(interval);
      executingByVm.set(executor.vmId, [...others, interval]);
      return interval;
    },
    ceased: (interval, atMs) => {
      interval.ceasedAtMs ??= atMs;
      const others = (executingByVm.get(interval.vmId) ?? []).filter((other) => other !== interval);
      if (others.length > 0) executingByVm.set(interval.vmId, others);
      else executingByVm.delete(interval.vmId);
    },
  };
}
