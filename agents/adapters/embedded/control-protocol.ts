// What is said between a guest's process and its clients, on a socket that only this user may open: one JSON value
// per line. The stream's key goes this way alone, never by arguments or environment.
import type { Socket } from "node:net";
import { z } from "zod";
import { StreamEndpoint } from "../../../schemas/peer.ts";
import { VmSpec } from "../../../schemas/vm.ts";
import type { IncomingStream, MachineEvent, OutgoingStream } from "../../ports/hypervisor.ts";

export const socketName = "guest.sock";
/** How the guest ended, left beside its socket by its own process. */
export const lastWordsName = "guest-ended.json";
export const logName = "guest.log";

export const LaunchLine = z.strictObject({
  vmId: z.string(),
  copyId: z.string(),
  spec: VmSpec,
  directory: z.string(),
  arriving: z.boolean(),
  /** A guest that has never executed and never had a stream ends when it has been without a client for so long. */
  lonelyMs: z.number().min(0),
});
export type LaunchLine = z.infer<typeof LaunchLine>;

/** What the process says on its own output: that it is warm, that it was launched, or why not. */
export const LaunchAnswer = z.discriminatedUnion("kind", [
  z.object({ kind: z.literal("launched"), startedAt: z.string(), socket: z.string() }),
  z.object({ kind: z.literal("failed"), detail: z.string() }),
]);
export type LaunchAnswer = z.infer<typeof LaunchAnswer>;

export const LastWords = z.object({ how: z.enum(["powered-off", "crashed"]), detail: z.string() });

const key = z.base64().max(64);
export const Call = z.discriminatedUnion("method", [
  z.object({
    id: z.int(),
    method: z.enum(["state", "run", "stop", "reset", "settings", "finish", "cancel", "destroy", "digest"]),
  }),
  z.object({ id: z.int(), method: z.literal("throttle"), percent: z.int().min(0).max(99) }),
  z.object({ id: z.int(), method: z.literal("type"), text: z.string().max(256) }),
  z.object({
    id: z.int(),
    method: z.literal("receive"),
    stream: z.object({ address: z.string(), peerAddress: z.string(), key, migrationId: z.string().max(64) }),
  }),
  z.object({
    id: z.int(),
    method: z.literal("send"),
    stream: z.object({
      endpoint: StreamEndpoint,
      localAddress: z.string(),
      key,
      migrationId: z.string().max(64),
      limits: z.object({ bandwidthLimitBytesPerSecond: z.number().min(1).nullable() }),
    }),
  }),
]);
export type Call = z.infer<typeof Call>;

export type Answer = { id: number; result: unknown } | { id: number; error: string };
export type Told = { event: MachineEvent };

export const keyText = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64");
export const keyFrom = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "base64"));

export const incomingFrom = (stream: Extract<Call, { method: "receive" }>["stream"]): IncomingStream => ({
  ...stream,
  key: keyFrom(stream.key),
});
export const outgoingFrom = (stream: Extract<Call, { method: "send" }>["stream"]): OutgoingStream => ({
  ...stream,
  key: keyFrom(stream.key),
});

const longestLine = 1024 * 1024;

/** Calls back for each whole line. A line that is too long ends the connection. */
export function readLines(socket: Pick<Socket, "on" | "destroy">, onLine: (line: string) => void): void {
  let rest = "";
  socket.on("data", (chunk: Buffer | string) => {
    rest += chunk.toString();
    let end = rest.indexOf("\n");
    while (end >= 0) {
      const line = rest.slice(0, end);
      rest = rest.slice(end + 1);
      onLine(line);
      end = rest.indexOf("\n");
    }
    if (rest.length > longestLine) socket.destroy();
  });
}
