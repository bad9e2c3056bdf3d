// Items in and out of the table as typed values, and the commit that an operation puts together.
import type { DroverEvent } from "../../schemas/events.ts";
import type { EventDraft } from "../domain/records.ts";
import { isSame } from "../domain/same.ts";
import type { Change, Item, Json, Key } from "../ports/table.ts";
import { eventKey, itemName } from "./keys.ts";

/** Of the shapes in domain/records.ts. A newer program that changes one raises it and reads the older. */
export const schemaVersion = 1;

/** A place in the table and what was read there; `value` is null where nothing stands. */
export type Stored<T> = { key: Key; revision: number; value: T };
export type Place<T> = Stored<T> | { key: Key; revision: 0; value: null };

export function readPlace<T>(key: Key, item: Item | null | undefined): Place<T> {
  if (!item) return { key, revision: 0, value: null };
  return readItem<T>(item);
}

export function readItem<T>(item: Item): Stored<T> {
  if (item.schemaVersion !== schemaVersion) {
    throw new Error(
      `item ${item.partition} ${item.sort} has schema version ${item.schemaVersion}, not ${schemaVersion}`,
    );
  }
  return { key: { partition: item.partition, sort: item.sort }, revision: item.revision, value: item.data as T };
}

/** What an operation is going to change, all or none. Each place is written once, under the revision it was read at. */
export class Batch {
  readonly #clusterId: string | null;
  readonly #by: string;
  readonly #at: number;
  readonly #changes = new Map<string, Change>();
  #events = 0;

  /** `clusterId` is null for what belongs to the deployment. */
  constructor(context: { clusterId: string | null; by: string; at: number }) {
    this.#clusterId = context.clusterId;
    this.#by = context.by;
    this.#at = context.at;
  }

  /** Writes the value if it differs from what stands. @returns the revision that it has then */
  put<T>(place: Place<T>, value: T): number {
    if (place.value !== null && isSame(place.value, value)) return place.revision;
    const data = value as { [name: string]: Json };
    const expected = place.value === null ? "absent" : place.revision;
    this.#set({ kind: "put", key: place.key, expected, schemaVersion, data });
    return place.revision + 1;
  }

  remove<T>(place: Place<T>): void {
    if (place.value !== null) this.#set({ kind: "delete", key: place.key, expected: place.revision });
  }

  /** Holds the commit to what was read, where nothing else of it is written. */
  check<T>(place: Place<T>): void {
    const name = JSON.stringify(place.key);
    if (this.#changes.has(name)) return;
    this.#set({ kind: "check", key: place.key, expected: place.value === null ? "absent" : place.revision });
  }

  /** @param cause the item whose change, put before, this event tells of. Each revision of an item is written once, so
   *  no two events ever have one key. */
  event(draft: EventDraft, cause: { key: Key }): void {
    const change = this.#changes.get(JSON.stringify(cause.key));
    if (!change || change.kind === "check")
      throw new Error(`event ${draft.kind} without a change of ${itemName(cause.key)}`);
    const revision = change.expected === "absent" ? 1 : change.expected + 1; // A removal counts as the next one.
    const item = itemName(cause.key);
    const event: DroverEvent = { ...draft, cluster: this.#clusterId, item, revision, at: this.#at, by: this.#by };
    const key = eventKey(this.#clusterId, draft.subject, { item, revision }, this.#events++);
    this.#set({ kind: "put", key, expected: "absent", schemaVersion, data: event as { [name: string]: Json } });
  }

  /** @param causes by the kind of subject that the events are about */
  events(drafts: readonly EventDraft[], causes: { [subject: string]: { key: Key } }): void {
    for (const draft of drafts) {
      const cause = causes[draft.subject.kind];
      if (!cause) throw new Error(`event ${draft.kind} without a cause`);
      this.event(draft, cause);
    }
  }

  get changes(): Change[] {
    return [...this.#changes.values()];
  }

  get isEmpty(): boolean {
    return ![...this.#changes.values()].some((change) => change.kind !== "check");
  }

  #set(change: Change): void {
    this.#changes.set(JSON.stringify(change.key), change);
  }
}
