// One role of a migration over ports that answer as a test says, and note what they were asked.
import assert from "node:assert/strict";
import { MemoryJournalDisk, openMemoryJournal } from "../../../agents/adapters/memory-journal.ts";
import { createSimulatedClock } from "../../../agents/adapters/simulated/clock.ts";
import type { ControlPlane, ProvenRecord } from "../../../agents/ports/control-plane.ts";
import type { Copy, CopyEvent, CopyStatus } from "../../../agents/ports/copies.ts";
import type { MigrationJournal } from "../../../agents/ports/journal.ts";
import type { PeerLink } from "../../../agents/ports/peer-link.ts";
import type { RoleContext } from "../../../agents/roles/context.ts";
import { DestinationRole } from "../../../agents/roles/destination-role.ts";
import { SourceRole } from "../../../agents/roles/source-role.ts";
import type { AgentReport } from "../../../schemas/agent.ts";
import type { MigrationRecord } from "../../../schemas/migration.ts";
import type { PeerMessage } from "../../../schemas/peer.ts";
import { makeAssignment, makeAuthority, makeHost, makeRecord, spec } from "../../support/assignments.ts";

const authority = await makeAuthority();
export const hosts = {
  source: await makeHost(authority, "host-a", "10.0.0.1"),
  destination: await makeHost(authority, "host-b", "10.0.0.2"),
};
export const assignment = makeAssignment(hosts.source, hosts.destination);
export const { migrationId, vmId } = assignment;
export const signedAssignment = { payload: "the assignment", signature: "" };
export const recordOf = (changes: Partial<MigrationRecord> = {}): MigrationRecord => makeRecord(assignment, changes);
const ownerOf = (role: "source" | "destination") => {
  const { hostId, copyId } = assignment[role];
  return { hostId, copyId };
};
export const records = {
  committed: recordOf({ verdict: "committed", verdictToken: 6, owner: ownerOf("destination") }),
  confirmed: recordOf({ verdict: "committed", verdictToken: 6, owner: ownerOf("destination"), confirmed: true }),
  aborted: recordOf({ verdict: "aborted", verdictToken: 6 }),
  returned: recordOf({ verdict: "returned", verdictToken: 7 }),
};
export const provenOf = (record: MigrationRecord): ProvenRecord => ({
  record,
  signed: { payload: JSON.stringify(record), signature: "" },
});

/** Turns of the event loop: all that was promised is kept by then. */
export const settle = async () => {
  for (let turn = 0; turn < 10; turn++) await new Promise(setImmediate);
};

/** What another thread brings about, as a signature. */
export async function until(isSo: () => boolean): Promise<void> {
  for (let turn = 0; !isSo(); turn++) {
    assert.ok(turn < 20_000, "it does not come about");
    await settle();
  }
}

export class FakeLink implements PeerLink {
  readonly streamKey = new Uint8Array(32).fill(9);
  readonly version = 1;
  readonly peerIncarnation: string;
  readonly sent: PeerMessage[] = [];
  on: Parameters<PeerLink["listen"]>[0] | null = null;
  isClosed = false;
  constructor(peerIncarnation = "inc-peer") {
    this.peerIncarnation = peerIncarnation;
  }
  send(message: PeerMessage): void {
    this.sent.push(message);
  }
  listen(on: Parameters<PeerLink["listen"]>[0]): void {
    this.on = on;
  }
  close(): void {
    this.isClosed = true;
  }
  /** What the peer says. */
  async says(message: PeerMessage): Promise<void> {
    this.on?.message(message);
    await settle();
  }
  async breaks(): Promise<void> {
    this.on?.closed("cut");
    await settle();
  }
}

type Answer = Awaited<ReturnType<ControlPlane["report"]>>;
type Does = { [name: string]: (...given: unknown[]) => unknown };
export const applied = (record: MigrationRecord | null = null): Answer => ({
  kind: "applied",
  assignmentsRevision: 1,
  record: record && provenOf(record),
});
export const unheard: Answer = { kind: "unknown", detail: "cut off" };
export const refusedFor = (code: string): Answer =>
  ({ kind: "refused", problem: { code, detail: "" }, record: null }) as unknown as Answer;

export function makeRoleBench(side: "source" | "destination", changes: Partial<MigrationJournal> = {}) {
  const clock = createSimulatedClock(1000);
  const disk = new MemoryJournalDisk();
  const journal = openMemoryJournal(disk);
  const listeners = new Set<(event: CopyEvent) => void>();
  const bench = {
    side,
    clock,
    disk,
    journal,
    /** What copy, copies and peer links were asked, in order. */
    done: [] as unknown[][],
    reports: [] as AgentReport[],
    logged: [] as { event: string }[],
    status: { machine: "running", lock: "held", ended: null, gate: null, atGate: null, resets: 0 } as CopyStatus,
    /** How many times records were read. */
    reads: 0,
    record: "unknown" as MigrationRecord | "unknown" | "refused",
    provable: true,
    answer: (_report: AgentReport): Answer | Promise<Answer> => unheard,
    nowMs: null as number | null,
    link: new FakeLink(),
    connectFails: null as Error | null,
    onLink: null as ((link: PeerLink) => void) | null,
    listeners,
    /** What the copy does instead of granting all that it is asked. */
    does: {} as Does,
    found: [] as Copy[],
    launched: [] as Copy[],
  };
  const usual: Does = {
    holdAtGate: () => ({ standsForMs: 3, resets: 2 }),
    passGate: () => "past",
    cancelAtGate: () => "cancelled",
    run: () => ({ kind: "granted" }),
    arrivePaused: () => ({ kind: "granted" }),
    takeBackLock: () => ({ kind: "granted" }),
    receive: () => ({ address: assignment.destination.address, port: 4000 }),
    status: () => bench.status,
  };
  const act = async (name: string, given: unknown[]): Promise<unknown> => {
    if (name !== "status") bench.done.push([name, ...given]);
    return (bench.does[name] ?? usual[name])?.(...given);
  };
  const named = { vmId, copyId: assignment[side].copyId, spec, migrationId };
  const copy = new Proxy(named as unknown as Copy, {
    get(target, name) {
      if (name in target) return Reflect.get(target, name);
      if (name === "then") return undefined;
      if (name === "listen") {
        return (listener: (event: CopyEvent) => void) => {
          listeners.add(listener);
          return () => void listeners.delete(listener);
        };
      }
      return (...given: unknown[]) => act(String(name), given);
    },
  });
  const entry: MigrationJournal = {
    migrationId,
    claimed: { role: side, assignment, signed: signedAssignment, record: null },
    ...changes,
  };
  const context = {
    hostId: assignment[side].hostId,
    incarnation: "inc-own",
    agentSilenceMs: 777,
    commitMs: () => 5,
    randomBytes: (length: number) => new Uint8Array(length).fill(7),
    sign: hosts[side].sign,
    clock,
    journal,
    log: (logged: { event: string }) => bench.logged.push(logged),
    controlPlane: {
      report: async (report: AgentReport) => {
        bench.reports.push(report);
        return bench.answer(report);
      },
      readRecord: async () => {
        bench.reads++;
        if (bench.record === "unknown") return { kind: "unknown", detail: "cut off" };
        if (bench.record === "refused") return { kind: "refused", problem: { code: "busy" }, record: null };
        return { kind: "answered", record: provenOf(bench.record) };
      },
      prove: async (signed: { payload: string }, of: string) => {
        const record = JSON.parse(signed.payload) as MigrationRecord;
        return bench.provable && of === migrationId ? provenOf(record) : null;
      },
      controlPlaneNowMs: () => bench.nowMs,
    },
    copies: {
      launch: async (request: unknown) => {
        await act("launch", [request]);
        return copy;
      },
      list: async () => {
        await act("list", []);
        return bench.found;
      },
    },
    peerLinks: {
      connect: async (identity: unknown, withinMs: number) => {
        await act("connect", [identity, withinMs]);
        if (bench.connectFails) throw bench.connectFails;
        return bench.link;
      },
      expect: async (identity: unknown, onLink: (link: PeerLink) => void) => {
        await act("expect", [identity]);
        bench.onLink = onLink;
        return async () => void bench.done.push(["stop-expecting"]);
      },
    },
  } as unknown as RoleContext;
  const names = () => bench.done.map(([name]) => name);
  const kinds = () => bench.reports.map(({ kind }) => kind);
  const says = async (event: CopyEvent) => {
    for (const listener of [...listeners]) listener(event);
    await settle();
  };
  const pass = async (milliseconds: number) => {
    const untilMs = clock.monotonicMs() + milliseconds;
    clock.after(milliseconds, () => {});
    while ((clock.nextAtMs() ?? Number.POSITIVE_INFINITY) <= untilMs) {
      clock.step();
      await settle();
    }
  };
  /** The stages it came to. */
  const stages = () =>
    bench.logged.flatMap((logged) =>
      logged.event === `${side}-stage` ? [(logged as unknown as { to: string }).to] : [],
    );
  return Object.assign(bench, { copy, entry, context, names, kinds, says, pass, stages });
}

export function makeSource(changes: Partial<MigrationJournal> = {}) {
  const bench = makeRoleBench("source", changes);
  const role = new SourceRole(bench.context, bench.entry, bench.copy);
  const begin = async () => {
    await role.start();
    await settle();
  };
  /** Its guest is copied, over the link that there is. */
  const beginCopying = async () => {
    await begin();
    await bench.link.says({ kind: "ready", endpoint: { address: assignment.destination.address, port: 4000 } });
  };
  /** An earlier life passed the gate. */
  const beginInDoubt = async () => {
    role.recover({ machine: "standing", gate: "past", ended: null });
    await settle();
  };
  return Object.assign(bench, { role, begin, beginCopying, beginInDoubt });
}

export function makeDestination(changes: Partial<MigrationJournal> = {}, hasCopy = false) {
  const bench = makeRoleBench("destination", changes);
  const role = new DestinationRole(bench.context, bench.entry, hasCopy ? bench.copy : null, (copy) =>
    bench.launched.push(copy),
  );
  const begin = async () => {
    await role.start();
    await settle();
  };
  /** The source has come. */
  const linked = async () => {
    bench.onLink?.(bench.link);
    await settle();
  };
  const beginLoading = async () => {
    await begin();
    await linked();
  };
  return Object.assign(bench, { role, begin, linked, beginLoading });
}
