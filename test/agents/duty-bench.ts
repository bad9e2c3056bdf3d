// The duties of one host over a copy that does as it is told, and notes what that was.
import { MemoryJournalDisk, openMemoryJournal } from "../../agents/adapters/memory-journal.ts";
import { createSimulatedClock } from "../../agents/adapters/simulated/clock.ts";
import { type Binding, Duties } from "../../agents/duties.ts";
import type { Copy, CopyEvent, CopyRequest, CopyStatus, PermitOutcome } from "../../agents/ports/copies.ts";
import type { RoleContext } from "../../agents/roles/context.ts";
import type { AgentReport, CopyDuty } from "../../schemas/agent.ts";
import { spec, ulid } from "../support/assignments.ts";

export const copyId = ulid("copy", 1);
export const otherCopyId = ulid("copy", 2);
export const migrationId = ulid("mig", 1);

export const dutyOf = (changes: Partial<CopyDuty>): CopyDuty => ({
  vmId: "vm-1",
  copyId,
  fencingToken: 7,
  spec,
  wantedRunState: "running",
  hasRun: false,
  ...changes,
});

type Answer = "applied" | "unknown" | "later" | "refused";

export class FakeCopy {
  machine: CopyStatus["machine"] = "running";
  lock: CopyStatus["lock"] = "held";
  ended: CopyStatus["ended"] = null;
  resets = 0;
  permit: PermitOutcome = { kind: "granted" };
  failing = false;
  migrationId: string | null = null;
  listeners: ((event: CopyEvent) => void)[] = [];
  /** Called when it is asked for its status. */
  whenAsked = () => {};
  readonly port: Copy;

  constructor(ofVm: string, id: string, did: (what: string) => void) {
    const allow = (what: string) => {
      did(what);
      if (this.permit.kind === "granted") this.machine = "running";
      return this.permit;
    };
    const copy = this;
    this.port = {
      vmId: ofVm,
      copyId: id,
      spec,
      get migrationId() {
        return copy.migrationId;
      },
      status: async () => {
        if (this.failing) throw new Error("its supervisor is gone");
        this.whenAsked();
        const { machine, lock, ended, resets } = this;
        return { machine, lock, ended, resets, gate: null, atGate: null };
      },
      run: async (token: number, replace?: boolean) => allow(replace ? `run ${token} ${replace}` : `run ${token}`),
      resume: async (token: number) => allow(`resume ${token}`),
      pause: async () => {
        did("pause");
        this.machine = "stopped";
      },
      reset: async (number: number) => {
        did(`reset ${number}`);
        this.resets = number;
      },
      destroy: async () => did("destroy"),
      listen: (listener: (event: CopyEvent) => void) => {
        this.listeners.push(listener);
        return () => {};
      },
    } as unknown as Copy;
  }

  says(event: CopyEvent): void {
    for (const listener of this.listeners) listener(event);
  }
}

type Options = {
  copies?: string[];
  machine?: CopyStatus["machine"];
  isFirstLife?: boolean;
  found?: "as the agent began" | "since";
  answer?: Answer;
};

export function makeBench({
  copies = [copyId],
  machine,
  isFirstLife = false,
  found,
  answer = "applied",
}: Options = {}) {
  const order: string[] = [];
  const bench = {
    done: [] as string[],
    order,
    launched: [] as CopyRequest[],
    reports: [] as AgentReport[],
    logged: [] as { event: string }[],
    superseded: [] as CopyDuty[],
    bindings: new Map<string, Binding>(),
    sweepsWanted: 0,
    isFrozen: false,
    answer,
  };
  const make = (ofVm: string, id: string) =>
    new FakeCopy(ofVm, id, (what) => {
      bench.done.push(what);
      order.push(what);
    });
  const disk = new MemoryJournalDisk();
  const journal = openMemoryJournal(disk);
  const clock = createSimulatedClock();
  const answers = {
    applied: { kind: "applied", assignmentsRevision: 1, record: null },
    unknown: { kind: "unknown", detail: "" },
    later: { kind: "refused", problem: { code: "try-again", detail: "" }, record: null },
    refused: { kind: "refused", problem: { code: "not-yours", detail: "" }, record: null },
  };
  const context = {
    controlPlane: {
      report: async (report: AgentReport) => {
        bench.reports.push(report);
        order.push(report.kind === "copy-seen" ? `told ${report.state}` : `told ${report.kind}`);
        return answers[bench.answer];
      },
    },
    copies: {
      launch: async (request: CopyRequest) => {
        bench.launched.push(request);
        const copy = make(request.vmId, request.copyId);
        copy.machine = "held";
        return copy.port;
      },
    },
    clock,
    journal,
    // Of a refused report is said in agents/roles/context.ts.
    log: (entry: { event: string }) => entry.event !== "report-refused" && bench.logged.push(entry),
  } as unknown as RoleContext;
  const duties = new Duties(context, isFirstLife, {
    bindingOf: (id) => bench.bindings.get(id) ?? "free",
    supersede: (duty) => bench.superseded.push(duty),
    wantSweep: () => bench.sweepsWanted++,
    isFrozen: () => bench.isFrozen,
  });
  const made = copies.map((id) => make("vm-1", id));
  for (const each of made) {
    if (machine) each.machine = machine;
    duties.watch(each.port, found ?? "as the agent began");
  }
  const sweepWith = (changes: Partial<CopyDuty>) => {
    duties.assign([dutyOf(changes)]);
    return duties.sweep();
  };
  const seen = () =>
    bench.reports
      .filter((report) => report.kind === "copy-seen")
      .map(
        ({ state, because, detail, fencingToken, resets = 0 }) =>
          [state, because, detail, fencingToken, resets] as const,
      );
  const copy = made[0] ?? make("vm-1", copyId);
  return Object.assign(bench, {
    duties,
    copy,
    disk,
    journal,
    clock,
    sweepWith,
    seen,
    events: () => bench.logged.map(({ event }) => event),
  });
}
