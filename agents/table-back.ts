// The control plane's table went back, or recovers from that: this host decides nothing until it hears that it may, and
// tells what it has. Being refused so is neither a record nor being cut off: no word is asked for or given, nothing is
// started, resumed or destroyed. Guests that run go on running.
//   B1  Frozen is durable before anything is told, and a restarted agent is still frozen.
//   B2  What was begun before is awaited first, so that nothing happens after it was told.
//   B3  A guest at its gate, and not past it, is given back to its user: that much this host may always do alone.
//   B4  It goes on only after tokens of before the restore count no more here, durably.
import type { HeartbeatAnswer } from "../schemas/agent.ts";
import { tokensPerEpoch } from "../schemas/ids.ts";
import type { InventoryCopy, InventoryMigration, InventoryReport } from "../schemas/inventory.ts";
import { pageInventory } from "./domain/guest-pages.ts";
import { durable } from "./durable-step.ts";
import { messageOf } from "./message-of.ts";
import type { ControlPlane, ProvenRecord, Refused, Unknown } from "./ports/control-plane.ts";
import type { Copy } from "./ports/copies.ts";
import type { Journal } from "./ports/journal.ts";
import type { RoleContext } from "./roles/context.ts";

const migrationsTold = 24;
const tryAgainMs = 1000;

export type FreezeHooks = {
  /** Stops every decision at once; resolves when what was begun has come to its end. */
  halt(): Promise<void>;
  /** Takes everything up again from journal and copies. */
  goOn(): Promise<void>;
  /** The newest records that were known when it froze. */
  records(): ReadonlyMap<string, ProvenRecord>;
};

export class TableBack {
  readonly #context: RoleContext;
  readonly #hooks: FreezeHooks;
  #isFrozen: boolean;
  #work: Promise<void> = Promise.resolve();
  #isEnded = false;

  constructor(context: RoleContext, hooks: FreezeHooks) {
    this.#context = context;
    this.#hooks = hooks;
    this.#isFrozen = context.journal.tableStanding().isFrozen;
  }

  get isFrozen(): boolean {
    return this.#isFrozen;
  }

  end(): void {
    this.#isEnded = true;
  }

  /** The answer itself goes on to whoever asked, who learns nothing from it. */
  hear(code: string): void {
    if (code === "recovering" || code === "table-went-back") this.#freeze(code);
  }

  heartbeatAnswered({ recovering, restoreEpoch }: HeartbeatAnswer): void {
    if (recovering) {
      if (this.#isFrozen) this.#then(() => this.#tell());
      else this.#freeze("recovering");
      return;
    }
    const tokenFloor = restoreEpoch * tokensPerEpoch;
    const stands = this.#context.journal.tableStanding();
    if (!this.#isFrozen && stands.tokenFloor >= tokenFloor) return;
    this.#then(() => this.#thaw(Math.max(stands.tokenFloor, tokenFloor)));
  }

  #freeze(why: string): void {
    if (this.#isFrozen || this.#isEnded) return;
    this.#isFrozen = true;
    this.#context.log({ event: "frozen", why });
    const halted = this.#hooks.halt();
    this.#then(async () => {
      await halted;
      await this.#keep({ isFrozen: true });
      await this.#tell();
    });
  }

  async #thaw(tokenFloor: number): Promise<void> {
    await this.#keep({ isFrozen: false, tokenFloor }); // B4
    if (!this.#isFrozen) return;
    this.#isFrozen = false;
    this.#context.log({ event: "thawed", tokenFloor });
    await this.#hooks.goOn();
  }

  #keep(change: Partial<ReturnType<Journal["tableStanding"]>>): Promise<void> {
    const { journal } = this.#context;
    const standing = { ...journal.tableStanding(), ...change };
    return durable("journal:table-standing", () => journal.keepTableStanding(standing));
  }

  /** Told again with every heartbeat for as long as the cluster recovers; what cannot be told yet is told then. */
  async #tell(): Promise<void> {
    const { journal, controlPlane, log } = this.#context;
    if (!journal.tableStanding().isFrozen) return; // B1: not before that is kept.
    try {
      let awaited: string[] = [];
      for (const page of pageInventory(await this.#take())) {
        const answer = await controlPlane.tellInventory(page);
        if (answer.kind !== "answered") {
          const detail = answer.kind === "unknown" ? answer.detail : answer.problem.code;
          return log({ event: "inventory-not-taken", detail });
        }
        awaited = answer.answer.awaited;
      }
      log({ event: "inventory-told", awaited });
    } catch (error) {
      log({ event: "inventory-not-told", error: messageOf(error) });
    }
  }

  async #take(): Promise<Omit<InventoryReport, "page">> {
    const { journal, copies } = this.#context;
    const told: InventoryCopy[] = [];
    for (const copy of await copies.list()) told.push(await describe(copy));
    const records = this.#hooks.records();
    const migrations = journal
      .migrations()
      .sort((one, other) => (one.migrationId < other.migrationId ? 1 : -1))
      .map((entry): InventoryMigration & { over: boolean } => ({
        role: entry.claimed.role,
        assignment: entry.claimed.signed,
        record: (records.get(entry.migrationId) ?? entry.claimed.record)?.signed ?? null,
        commitSent: entry.commitSent ?? false,
        runIntent: entry.runIntent ?? 0,
        runRefused: entry.runRefused ?? 0,
        arrivesPaused: entry.arrivesPaused ?? false,
        relinquished: entry.relinquished ?? false,
        over: entry.over ?? false,
      }))
      .sort((one, other) => Number(one.over) - Number(other.over))
      .slice(0, migrationsTold);
    return { copies: told, migrations, tokens: journal.tokens() };
  }

  /** One thing after the other; what fails is tried again. */
  #then(act: () => Promise<void>): void {
    const { clock, log } = this.#context;
    this.#work = this.#work.then(async () => {
      if (this.#isEnded) return;
      await act().catch((error: unknown) => {
        log({ event: "recovery-step-failed", error: messageOf(error) });
        clock.after(tryAgainMs, () => this.#then(act));
      });
    });
  }
}

/** @throws when its supervisor does not answer: what it has cannot be told then */
async function describe(copy: Copy): Promise<InventoryCopy> {
  let account = await copy.account();
  const stands = account.atGate && !account.atGate.isOver;
  if (stands && account.gate !== "past" && account.machine !== "ended") {
    await copy.cancelAtGate(); // B3
    account = await copy.account();
  }
  const { machine, lockToken, lockFile, gate, atGate, wasPaused, ended } = account;
  return {
    vmId: copy.vmId,
    copyId: copy.copyId,
    spec: copy.spec,
    migrationId: copy.migrationId,
    machine,
    lockToken,
    lockFile,
    gate,
    isAtGate: atGate !== null && !atGate.isOver,
    wasPaused,
    ended: ended?.how ?? null,
  };
}

/** Hands every answer on, and tells of refusals. */
export function watchRefusals(controlPlane: ControlPlane, onRefused: (code: string) => void): ControlPlane {
  const watched = async <A extends { kind: string }>(
    asked: Promise<A | Refused | Unknown>,
  ): Promise<A | Refused | Unknown> => {
    const answer = await asked;
    if (answer.kind === "refused") onRefused((answer as Refused).problem.code);
    return answer;
  };
  return {
    heartbeat: (request) => watched(controlPlane.heartbeat(request)),
    claim: () => watched(controlPlane.claim()),
    readRecord: (migrationId) => watched(controlPlane.readRecord(migrationId)),
    report: (report) => watched(controlPlane.report(report)),
    tellInventory: (inventory) => controlPlane.tellInventory(inventory),
    prove: (signed, migrationId) => controlPlane.prove(signed, migrationId),
    controlPlaneNowMs: () => controlPlane.controlPlaneNowMs(),
  };
}
