// A host's request: one read, one decision, one commit. It is authenticated on what that one read found, decided by
// the pure rules, and committed together with the host's counter, so that a request that came twice, or to a table
// that went back, is noticed before anything is written.

import type { MigrationRecord } from "../../schemas/migration.ts";
import type { Problem } from "../../schemas/problems.ts";
import {
  contentDigest,
  type Signed,
  signDocument,
  type Verify,
  verifierFrom,
  verifyRequest,
} from "../../schemas/signing.ts";
import type { HostIdentity, RecordData, Session, Slot } from "../domain/records.ts";
import { afterRequest, checkSession, type Manner } from "../domain/session.ts";
import type { HostAddress } from "../ports/doorbell.ts";
import type { Ports } from "../ports/ports.ts";
import type { Item, Key } from "../ports/table.ts";
import { Batch, type Place, readPlace } from "./items.ts";
import { keys, nameOf, sameKey } from "./keys.ts";
import { queryAll } from "./read.ts";
import { noticeTableWentBack } from "./recovery.ts";
import { retryConflicts } from "./retry.ts";

/** As the request's headers say; nothing of it is believed before `authenticate`. */
export type AgentCall = {
  method: string;
  path: string;
  body: string;
  clusterId: string;
  hostId: string;
  incarnation: string;
  counter: number;
  acknowledged: number;
  headers: { host: string; contentDigest: string; signatureInput: string; signature: string };
  /** Of what kind a report is. */
  reports?: string;
};

export type AgentOutcome<A> = ({ kind: "answer"; answer: A } | Refusal) & {
  /** The host's counter as the table has it after this request; null when nothing is known of the host. */
  counter: number | null;
};
export type Refusal = { kind: "refuse"; problem: Problem; record?: Signed };

/** What the one read found. */
export class Found {
  readonly #items: Map<string, Item | null>;
  readonly #ports: Ports;
  readonly call: AgentCall;
  readonly now: number;

  constructor(ports: Ports, call: AgentCall, items: Map<string, Item | null>) {
    this.#ports = ports;
    this.#items = items;
    this.call = call;
    this.now = ports.clock.nowMs();
  }

  /** @throws for a key that was not read */
  at<T>(key: Key): Place<T> {
    const item = this.#items.get(nameOf(key));
    if (item === undefined) throw new Error(`reading ${key.partition} ${key.sort}, which was not asked for`);
    return readPlace<T>(key, item);
  }

  /** Reads what nobody could name before the first read; a request that names all it is about never needs it. */
  async also(more: readonly Key[]): Promise<void> {
    const missing = more.filter((key) => !this.#items.has(nameOf(key)));
    if (missing.length === 0) return;
    const items = await this.#ports.table.get(missing);
    missing.forEach((key, index) => {
      this.#items.set(nameOf(key), items[index] ?? null);
    });
  }

  get all(): Item[] {
    return [...this.#items.values()].filter((item) => item !== null);
  }

  get session(): Place<Session> {
    return this.at(keys.session(this.call.clusterId, this.call.hostId));
  }

  get slot(): Place<Slot> {
    return this.at(keys.slot(this.call.clusterId, this.call.hostId));
  }
}

export type Decided<A> =
  /** `mayBeTorn`: so it looks from items read at one time that were never so together; it is read again once. */
  | (Refusal & { mayBeTorn?: boolean })
  /** `answer` is made after the commit, and also when an earlier try of this very request turns out to have landed. */
  | {
      kind: "accept";
      batch: Batch;
      /** The session as it is to be then; written also when nothing else is. */
      session?: Session;
      answer: () => Promise<A>;
      rings?: HostAddress[];
      /** Housekeeping that this request passes by; it may read and write more. */
      afterwards?: () => Promise<void>;
    };

export type AgentRequest<A> = {
  manner: Manner;
  /** Why the body is not one of this kind; told only to a host that has proved who it is. */
  invalid?: Problem | null;
  read: { keys: readonly Key[] } | { partition: string };
  decide: (found: Found, session: Session) => Promise<Decided<A>> | Decided<A>;
};

export async function answerAgent<A>(
  ports: Ports,
  call: AgentCall,
  request: AgentRequest<A>,
): Promise<AgentOutcome<A>> {
  let counter: number | null = null;
  let hasReadAgain = false;
  let isNews = false;
  const retried = await retryConflicts<Decided<A>>(ports, stepOf(call), async ({ unsure }) => {
    const found = await read(ports, call, request);
    const session = found.session.value;
    const hasLanded = unsure && session?.incarnation === call.incarnation && session.counter === call.counter;
    const denied = await authenticate(ports, call, found);
    if (denied?.code === "clock-skew") counter = session?.counter ?? null; // It has proved who it is.
    if (denied) return { kind: "done", result: { kind: "refuse", problem: denied } };
    if (!session) throw new Error(`host ${call.clusterId}/${call.hostId} has an identity and no session`);
    counter = session.counter;
    const isKnown = request.manner === "heartbeat" && found.at(incarnationKey(call)).value !== null;
    const refused = hasLanded ? null : (checkSession(session, call, request.manner, isKnown) ?? request.invalid);
    isNews = refused?.code === "table-went-back" && session.recovery?.kind !== "went-back";
    if (refused) return { kind: "done", result: { kind: "refuse", problem: refused } };
    const decided = await request.decide(found, session);
    if (decided.kind === "refuse" && decided.mayBeTorn && !hasReadAgain) {
      hasReadAgain = true;
      return { kind: "again" };
    }
    // A request that finds its own effect answers as if it had just made it, and writes nothing again.
    if (decided.kind === "refuse" || hasLanded) return { kind: "done", result: decided };
    if (decided.batch.isEmpty && !decided.session) return { kind: "done", result: decided };
    decided.batch.put(found.session, decided.session ?? afterRequest(session, call));
    return { kind: "commit", changes: decided.batch.changes, result: decided };
  });
  if (retried.kind === "busy") return { kind: "refuse", problem: retried.problem, counter };
  if (retried.committed) counter = call.counter;
  if (isNews) await finish(ports, () => noticeTableWentBack(ports, call.clusterId, call));
  const decided = retried.result;
  if (decided.kind === "refuse") {
    const { problem, record } = decided;
    return { kind: "refuse", problem, ...(record ? { record } : {}), counter };
  }
  const { rings = [], afterwards } = decided;
  if (rings.length > 0 || afterwards) {
    await finish(ports, async () => {
      await Promise.all([ringAll(ports, rings), afterwards?.()]);
    });
  }
  return { kind: "answer", answer: await decided.answer(), counter };
}

/** What its commit is called: "claim", or "report-" and the report's kind. */
function stepOf({ path, reports }: AgentCall): string {
  const [what = ""] = path.slice(path.lastIndexOf("/") + 1).split("?");
  return reports ? `${what}-${reports}` : what;
}

async function read<A>(ports: Ports, call: AgentCall, request: AgentRequest<A>): Promise<Found> {
  const own = [keys.identity, keys.session, keys.slot].map((key) => key(call.clusterId, call.hostId));
  if (request.manner === "heartbeat") own.push(incarnationKey(call));
  const items = new Map<string, Item | null>(own.map((key) => [nameOf(key), null]));
  if ("partition" in request.read) {
    // Items are read one after the other: the slot's revision before the duties, so that it never tells of newer ones.
    const all = await queryAll(ports, { partition: request.read.partition, order: "descending" });
    for (const item of all) items.set(nameOf(item), item);
  } else {
    const extra = request.invalid ? [] : request.read.keys;
    const wanted = [...own, ...extra.filter((key) => !own.some((other) => sameKey(key, other)))];
    const got = await ports.table.get(wanted);
    wanted.forEach((key, index) => {
      items.set(nameOf(key), got[index] ?? null);
    });
  }
  return new Found(ports, call, items);
}

const incarnationKey = (call: AgentCall): Key => keys.incarnation(call.clusterId, call.hostId, call.incarnation);

/** Per deployment, so that one process may play several, each from its beginning. */
const verifiersOf = new WeakMap<object, Map<string, Verify>>();
async function verifierOf(ports: Ports, publicKey: string): Promise<Verify> {
  const verifiers = verifiersOf.get(ports.signing) ?? new Map<string, Verify>();
  verifiersOf.set(ports.signing, verifiers);
  const known = verifiers.get(publicKey);
  if (known) return known;
  const made = await verifierFrom(publicKey);
  if (verifiers.size > 1000) verifiers.clear(); // A few hosts are usual; this only bounds it.
  verifiers.set(publicKey, made);
  return made;
}

async function authenticate(ports: Ports, call: AgentCall, found: Found): Promise<Problem | null> {
  const identity = found.at<HostIdentity>(keys.identity(call.clusterId, call.hostId)).value;
  if (!identity) {
    const detail = `No host "${call.hostId}" has joined cluster "${call.clusterId}"; join first.`;
    return { code: "signature-invalid", detail };
  }
  const { headers } = call;
  const parts = {
    method: call.method,
    path: call.path,
    contentDigest: headers.contentDigest,
    host: headers.host,
    incarnation: call.incarnation,
    counter: String(call.counter),
    acknowledged: String(call.acknowledged),
  };
  const created = await verifyRequest(parts, headers, await verifierOf(ports, identity.publicKey));
  if (created === null || headers.contentDigest !== (await contentDigest(call.body))) {
    return { code: "signature-invalid", detail: "Sign the request with the key that this host joined with." };
  }
  const skewMs = created * 1000 - found.now;
  if (Math.abs(skewMs) > ports.settings.clockSkewMs) {
    const bound = ports.settings.clockSkewMs / 1000;
    const detail = `Signed ${Math.round(skewMs / 1000)} s from the control plane's time; at most ${bound} s. Take the time from drover-time.`;
    return { code: "clock-skew", detail };
  }
  return null;
}

/** Work that the caller need not wait for, and that must not spoil its answer: what was committed stands, and whoever
 *  passes by next does what was left. */
export async function finish(ports: Ports, work: () => Promise<void>): Promise<void> {
  if (ports.defer) ports.defer(work());
  else await work().catch(() => {});
}

export async function ringAll(ports: Ports, hosts: readonly HostAddress[]): Promise<void> {
  await Promise.all(hosts.map((host) => ports.doorbell.ring(host)));
}

export function batchOf(found: Found): Batch {
  return new Batch({ clusterId: found.call.clusterId, by: `host/${found.call.hostId}`, at: found.now });
}

export function signRecord(ports: Ports, record: RecordData): Promise<Signed> {
  const document: MigrationRecord = { ...record, issuedAt: ports.clock.nowMs() };
  return signDocument(document, ports.signing.sign);
}
