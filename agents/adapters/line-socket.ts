// Lines on a socket, with a limit on their length, read one at a time; what follows the last line read stays on the
// socket, for whoever speaks on it next.
import type { Duplex } from "node:stream";
import { GatheredBytes } from "./gathered-bytes.ts";

const newline = 0x0a;
const firstKeptBytes = 256;

/** @param limitBytes a longer line ends the reading with an error
 *  @throws when the socket ends, fails, or `signal` is aborted first */
export function readLine(socket: Duplex, limitBytes: number, signal: AbortSignal): Promise<string> {
  const received: Buffer[] = [];
  let length = 0;
  return new Promise((resolve, reject) => {
    const finish = (act: () => void) => {
      socket.off("readable", onReadable);
      socket.off("end", onEnd);
      socket.off("close", onEnd);
      socket.off("error", onError);
      signal.removeEventListener("abort", onAbort);
      act();
    };
    const onEnd = () => finish(() => reject(new Error("the peer closed the connection")));
    const onError = (error: Error) => finish(() => reject(error));
    const onAbort = () => finish(() => reject(signal.reason));
    const onReadable = () => {
      for (let chunk: Buffer | null = socket.read(); chunk; chunk = socket.read()) {
        const end = chunk.indexOf(newline);
        if (length + (end < 0 ? chunk.length : end) > limitBytes) {
          return finish(() => reject(new Error(`a line longer than ${limitBytes} bytes`)));
        }
        if (end >= 0) {
          received.push(chunk.subarray(0, end));
          const rest = chunk.subarray(end + 1);
          return finish(() => {
            if (rest.length > 0) socket.unshift(rest);
            resolve(Buffer.concat(received).toString("utf8"));
          });
        }
        received.push(chunk);
        length += chunk.length;
      }
    };
    if (signal.aborted) return reject(signal.reason);
    if (socket.destroyed || socket.readableEnded) return reject(new Error("the peer closed the connection"));
    socket.on("readable", onReadable);
    socket.on("end", onEnd);
    socket.on("close", onEnd);
    socket.on("error", onError);
    signal.addEventListener("abort", onAbort, { once: true });
    onReadable();
  });
}

/** Splits a stream of chunks into lines. Answers false, for good, when a line is longer than the limit. */
export function lineSplitter(limitBytes: number, onLine: (line: string) => void): (chunk: Buffer) => boolean {
  const begun = new GatheredBytes(firstKeptBytes);
  return (chunk) => {
    let rest = chunk;
    for (let end = rest.indexOf(newline); end >= 0; end = rest.indexOf(newline)) {
      if (begun.length + end > limitBytes) return false;
      const last = rest.subarray(0, end);
      rest = rest.subarray(end + 1);
      if (begun.length === 0) {
        onLine(last.toString("utf8"));
        continue;
      }
      begun.add(last, limitBytes);
      onLine(begun.take().toString("utf8"));
    }
    if (begun.length + rest.length > limitBytes) return false;
    begun.add(rest, limitBytes);
    return true;
  };
}
