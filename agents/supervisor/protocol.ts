// What an agent and a supervisor's process say to each other. First one order on the new process's input and one answer
// on its output; from then on lines of JSON on a socket in the copy's folder, which only this user may open.
// An empty line is the agent's sign of life. The stream's key is said on the socket and nowhere else.
import { z } from "zod";
import { CopyId, FencingToken, MigrationId } from "../../schemas/ids.ts";
import { StreamEndpoint } from "../../schemas/peer.ts";
import { fromBase64Url, toBase64Url } from "../../schemas/signing.ts";
import { VmSpec } from "../../schemas/vm.ts";
import type { CopyEvent } from "../ports/copies.ts";
import type { IncomingStream, OutgoingStream } from "../ports/hypervisor.ts";
import { CopyMemo } from "./memo.ts";

/** Names within the copy's folder. */
export const memoName = "copy.json";
export const socketName = "supervisor.sock";
export const aliveName = "supervisor.lock";
export const processName = "supervisor.pid";
export const logName = "supervisor.log";
/** A copy's folder on its way out, beside it. */
export const removedPrefix = ".removed-";

const place = {
  /** The copy's folder. */
  directory: z.string(),
  sharedVolume: z.string(),
  /** The folder of this host's gates. */
  gates: z.string(),
};

export const Order = z.discriminatedUnion("kind", [
  z.strictObject({ kind: z.literal("launch"), ...place, request: CopyMemo.shape.request }),
  z.strictObject({ kind: z.literal("recover"), ...place }),
]);
export type Order = z.infer<typeof Order>;

/** busy: another supervisor of this copy lives. */
export const OrderAnswer = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("ready") }),
  z.object({ kind: z.literal("busy") }),
  z.object({ kind: z.literal("failed"), detail: z.string() }),
]);
export type OrderAnswer = z.infer<typeof OrderAnswer>;

const KeyText = z.string().regex(/^[A-Za-z0-9_-]{43}$/, "32 bytes in base64url");
const Incoming = z.strictObject({
  address: z.string(),
  peerAddress: z.string(),
  key: KeyText,
  migrationId: MigrationId,
});
const Outgoing = z.strictObject({
  endpoint: StreamEndpoint,
  localAddress: z.string(),
  key: KeyText,
  migrationId: MigrationId,
  limits: z.object({ bandwidthLimitBytesPerSecond: z.number().nullable() }),
});

const id = { id: z.int().min(1) };
const method = <M extends string>(name: M) => z.strictObject({ ...id, method: z.literal(name) });

export const Call = z.discriminatedUnion("method", [
  method("hello"),
  method("status"),
  method("account"),
  method("run").extend({ fencingToken: FencingToken, replaceLockFile: z.boolean().optional() }),
  method("takeBackLock").extend({ fencingToken: FencingToken }),
  method("arrivePaused").extend({ fencingToken: FencingToken }),
  method("pause"),
  method("resume").extend({ fencingToken: FencingToken }),
  method("reset").extend({ number: z.int().min(0) }),
  method("permitNext").extend({ next: z.strictObject({ copyId: CopyId }).nullable() }),
  method("receive").extend({ stream: Incoming }),
  method("send").extend({ stream: Outgoing }),
  method("throttle").extend({ percent: z.int().min(0).max(99) }),
  method("cancelStream"),
  method("holdAtGate").extend({ agentSilenceMs: z.number().min(0) }),
  method("passGate"),
  method("cancelAtGate"),
  method("destroy"),
]);
export type Call = z.infer<typeof Call>;
/** A call without its number; distributes over the union. */
export type Question = Call extends infer C ? (C extends { id: number } ? Omit<C, "id"> : never) : never;

/** What a supervisor says of its copy when it is greeted. */
export const Greeting = z.object({
  vmId: z.string(),
  spec: VmSpec,
  migrationId: MigrationId.nullable(),
  /** False: its supervisor died before the guest was built. */
  built: z.boolean(),
});
export type Greeting = z.infer<typeof Greeting>;

export type Said = { id: number; result: unknown } | { id: number; error: string } | { event: CopyEvent };

type Keyed<S extends { key: Uint8Array }> = Omit<S, "key"> & { key: string };

export const withKeyText = <S extends { key: Uint8Array }>(stream: S): Keyed<S> => ({
  ...stream,
  key: toBase64Url(stream.key),
});
export const incomingFrom = (stream: z.infer<typeof Incoming>): IncomingStream => ({
  ...stream,
  key: fromBase64Url(stream.key),
});
export const outgoingFrom = (stream: z.infer<typeof Outgoing>): OutgoingStream => ({
  ...stream,
  key: fromBase64Url(stream.key),
});
