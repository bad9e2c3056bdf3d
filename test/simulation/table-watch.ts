// Looks at every commit: what must hold of each change, whoever made it (I3, I8, I9), and what came of it.
import type { MigrationState, Slot, VmRecord } from "../../functions/domain/records.ts";
import type { Change, Item, Key, Table } from "../../functions/ports/table.ts";
import { tokensPerEpoch } from "../../schemas/ids.ts";

export type TableWatchHooks = {
  violation(detail: string): void;
  migration(before: MigrationState | null, after: MigrationState): void;
  vm(before: VmRecord | null, after: VmRecord): void;
};

const nextVerdicts: { [V in MigrationState["verdict"]["kind"]]: readonly string[] } = {
  open: ["committed", "aborted", "forced"],
  committed: ["returned", "forced"],
  aborted: [],
  returned: [],
  forced: [],
};

export class TableWatch {
  readonly #hooks: TableWatchHooks;
  readonly vms = new Map<string, VmRecord>();
  readonly migrations = new Map<string, MigrationState>();
  readonly slots = new Map<string, Slot>();
  /** Each VM's newest migration, as it stood last in whichever table knew it. */
  readonly newest = new Map<string, MigrationState>();
  /** Of each VM ever seen, also by a table that has been replaced since. */
  readonly #highestTokens = new Map<string, number>();
  readonly #recovering = new Set<string>();
  readonly #changedBy = new Map<string, number>();
  /** How many there have been. */
  commits = 0;

  constructor(hooks: TableWatchHooks) {
    this.#hooks = hooks;
  }

  /** The table, watched. Only what was committed counts. */
  watch(table: Table): Table {
    return {
      get: (keys) => table.get(keys),
      query: (range) => table.query(range),
      close: () => table.close(),
      commit: async (changes) => {
        const outcome = await table.commit(changes);
        if (outcome.kind === "committed") this.#committed(changes);
        return outcome;
      },
    };
  }

  /** The number of the commit that changed it last. */
  changedBy(key: Key): number {
    return this.#changedBy.get(`${key.partition}\n${key.sort}`) ?? 0;
  }

  /** Forgets everything, and learns what stands: after the table went back. */
  learn(items: readonly Item[]): void {
    for (const known of [this.vms, this.migrations, this.slots]) known.clear();
    for (const { partition, sort, data } of items) {
      const kind = kindOf({ partition, sort });
      if (kind === "vm") this.vms.set(sort, data as unknown as VmRecord);
      if (kind === "migration") this.migrations.set(sort, data as unknown as MigrationState);
      if (kind === "slot") this.slots.set(hostOf(partition), data as unknown as Slot);
    }
  }

  #committed(changes: readonly Change[]): void {
    this.commits++;
    for (const { key } of changes) this.#changedBy.set(`${key.partition}\n${key.sort}`, this.commits);
    const events = new Set<string>();
    for (const { key } of changes) if (key.partition.endsWith("/events/pending")) events.add(key.sort);
    const hasEvent = (item: string) => [...events].some((sort) => sort.includes(item));
    // A cluster that opens again draws its slots anew from what its hosts have told.
    const isReopened = changes.some(({ key }) => key.sort === "recovery");
    if (isReopened) this.slots.clear();
    this.#forgetSlotsOfHeard(changes);
    const verdictsChanged = new Set<string>();
    for (const change of changes) {
      if (change.kind !== "put" || kindOf(change.key) !== "migration") continue;
      const after = change.data as unknown as MigrationState;
      const before = this.migrations.get(after.id) ?? null;
      if (before?.verdict.kind !== after.verdict.kind) verdictsChanged.add(after.id);
      this.#migrationChanged(before, after, hasEvent(`migrations/${after.id}`));
      this.migrations.set(after.id, after);
      if ((this.newest.get(after.vmId)?.id ?? "") <= after.id) this.newest.set(after.vmId, after);
    }
    for (const change of changes) {
      if (change.kind !== "put") continue;
      const kind = kindOf(change.key);
      if (kind === "vm") {
        const after = change.data as unknown as VmRecord;
        this.#vmChanged(this.vms.get(after.vmId) ?? null, after, verdictsChanged, hasEvent(`vms/${after.vmId}`));
        this.vms.set(after.vmId, after);
      }
      if (kind === "slot") this.#slotChanged(hostOf(change.key.partition), change.data as unknown as Slot);
    }
  }

  /** One that was called lost meanwhile, and takes up its work by this: its slot is drawn from what it has told. */
  #forgetSlotsOfHeard(changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.kind !== "put" || change.key.sort !== "session") continue;
      const hostId = hostOf(change.key.partition);
      if (change.data["recovery"]) this.#recovering.add(hostId);
      else if (this.#recovering.delete(hostId)) this.slots.delete(hostId);
    }
  }

  #migrationChanged(before: MigrationState | null, after: MigrationState, hasEvent: boolean): void {
    const verdict = before?.verdict.kind;
    if (before && verdict && verdict !== after.verdict.kind) {
      if (!nextVerdicts[verdict].includes(after.verdict.kind) && !isRedrawn(before, after)) {
        this.#hooks.violation(`verdict of ${after.id}: ${verdict} became ${after.verdict.kind}`);
      }
      if (after.verdict.token <= before.verdict.token) {
        this.#hooks.violation(`verdict of ${after.id}: token ${before.verdict.token} became ${after.verdict.token}`);
      }
      if (!hasEvent)
        this.#hooks.violation(`verdict of ${after.id}: ${verdict} became ${after.verdict.kind} without an event`);
    }
    if (before?.stage !== after.stage && !hasEvent) {
      this.#hooks.violation(
        `migration ${after.id}: ${before?.stage ?? "nothing"} became ${after.stage} without an event`,
      );
    }
    if (before?.stage === "ended" && after.stage !== "ended" && !isRedrawn(before, after))
      this.#hooks.violation(`migration ${after.id} began again`);
    this.#hooks.migration(before, after);
  }

  #vmChanged(before: VmRecord | null, after: VmRecord, verdicts: ReadonlySet<string>, hasEvent: boolean): void {
    const { vmId } = after;
    if (before && after.fencingToken < before.fencingToken) {
      this.#hooks.violation(`I9: token of ${vmId} fell from ${before.fencingToken} to ${after.fencingToken}`);
    }
    const isOtherOwner = (before?.owner?.copyId ?? null) !== (after.owner?.copyId ?? null);
    const highest = this.#highestTokens.get(vmId) ?? 0;
    this.#highestTokens.set(vmId, Math.max(highest, after.fencingToken));
    if (isOtherOwner && after.owner && after.fencingToken <= highest) {
      this.#hooks.violation(`I9: ${vmId} has another owner under ${after.fencingToken}, and ${highest} was seen`);
    }
    if (before && isOtherOwner && after.owner) {
      if (after.fencingToken <= before.fencingToken) {
        this.#hooks.violation(`I9: ${vmId} has another owner under the same token ${after.fencingToken}`);
      }
      // Or the verdict of a later migration, which its host told of as well.
      if (before.migrationId && ![before.migrationId, after.migrationId ?? ""].some((id) => verdicts.has(id))) {
        this.#hooks.violation(`${vmId} has another owner during ${before.migrationId} without a verdict`);
      }
    }
    // A wish for a guest that has ended already changes nothing that anybody could see.
    const isOtherWish = before?.wantedRunState !== after.wantedRunState && !hasEnded(after);
    const isOtherState = before?.runState !== after.runState || isOtherWish;
    if ((isOtherOwner || isOtherState) && !hasEvent) this.#hooks.violation(`${vmId} changed without an event`);
    this.#hooks.vm(before, after);
  }

  #slotChanged(hostId: string, after: Slot): void {
    const before = this.slots.get(hostId)?.migration?.migrationId;
    const now = after.migration?.migrationId;
    const { holds, source } = this.migrations.get(before ?? "") ?? {};
    const isDone = holds && !(source?.hostId === hostId ? holds.source : holds.destination);
    if (before && now && before !== now && !isDone)
      this.#hooks.violation(`I3: the slot of ${hostId} went from ${before} to ${now} untold`);
    this.slots.set(hostId, after);
  }
}

/** From what hosts have told, after the table went back: nothing but the tokens' order binds it to what stood before. */
const isRedrawn = (before: MigrationState, after: MigrationState): boolean =>
  epochOf(after.verdict.token) > epochOf(before.verdict.token) ||
  (before.verdict.kind !== "committed" && (isOfRestore(after) || isOfRestore(before)));
const isOfRestore = ({ verdict }: MigrationState): boolean =>
  (verdict.kind === "aborted" || verdict.kind === "forced") && verdict.reason === "table-restored";

const epochOf = (token: number): number => Math.floor(token / tokensPerEpoch);

const hasEnded = ({ runState }: VmRecord): boolean => runState === "stopped" || runState === "guest-lost";

function kindOf({ partition, sort }: Key): "vm" | "migration" | "slot" | null {
  if (sort === "slot") return "slot";
  if (partition.endsWith("/vms")) return "vm";
  return partition.endsWith("/migrations") ? "migration" : null;
}

const hostOf = (partition: string): string => partition.slice(partition.lastIndexOf("/") + 1);
