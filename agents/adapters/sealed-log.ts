// A file whose last line is what holds: each write appends a line with its digest and syncs the data, which costs one
// trip to the disk where replacing the file would cost two and a rename. A line that was cut short by a crash was never
// answered for and is dropped; a whole line that does not fit its digest is damage, and refused.
import { createHash } from "node:crypto";
import {
  closeSync,
  constants,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  statSync,
  writeSync,
} from "node:fs";
import { writeDurably } from "./durable-file.ts";

/** Beyond this the file is begun anew with its last line. */
const compactAboveBytes = 256 * 1024;

/** Thrown for a file that cannot be believed; the message says why, not where. */
export class DamagedLog extends Error {
  override name = "DamagedLog";
}

export class SealedLog {
  readonly #path: string;
  #file: number | null = null;
  #length = 0;

  constructor(path: string) {
    this.#path = path;
  }

  /** What the last whole line says; null when there is no file.
   *  @throws DamagedLog */
  read(): string | null {
    const found = readLines(this.#path);
    return found?.last ?? null;
  }

  /** Durable when it resolves.
   *  @throws when it could not be made durable; what held before still holds, or the new text does */
  async write(text: string): Promise<void> {
    const line = seal(text);
    if (this.#file === null || this.#length + line.length > compactAboveBytes) {
      this.close();
      const found = readLines(this.#path);
      if (!found || found.length + line.length > compactAboveBytes) {
        await writeDurably(this.#path, line.toString("utf8"));
        this.#length = line.length;
        this.#file = openSync(this.#path, constants.O_WRONLY | constants.O_APPEND);
        return;
      }
      this.#file = openSync(this.#path, constants.O_WRONLY | constants.O_APPEND);
      // The rest of a line that was cut short would spoil the one behind it.
      ftruncateSync(this.#file, found.length);
      this.#length = found.length;
    }
    try {
      // A file that was moved or removed would take the line, and nobody would find it.
      const found = statSync(this.#path, { throwIfNoEntry: false });
      if (found?.ino !== fstatSync(this.#file).ino) throw new Error("the file is not where it was");
      // Without a thread's help: it is one small write, and the guest may be waiting for it.
      writeSync(this.#file, line);
      fdatasyncSync(this.#file);
      this.#length += line.length;
    } catch (error) {
      this.close(); // Whatever was written of it is found out when the file is next opened.
      throw new Error(`writing ${this.#path} durably`, { cause: error });
    }
  }

  close(): void {
    if (this.#file !== null) closeSync(this.#file);
    this.#file = null;
  }
}

function seal(text: string): Buffer {
  return Buffer.from(`${digestOf(text)} ${text}\n`, "utf8");
}

function readLines(path: string): { last: string; length: number } | null {
  let content: Buffer;
  try {
    content = readFileSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw error;
  }
  const length = content.lastIndexOf("\n") + 1;
  if (length === 0) throw new DamagedLog("it has no whole line");
  const lines = content
    .subarray(0, length - 1)
    .toString("utf8")
    .split("\n");
  let last = "";
  for (const line of lines) {
    const [digest, text] = [line.slice(0, 64), line.slice(65)];
    if (digest !== digestOf(text)) throw new DamagedLog("its digest does not fit its content");
    last = text;
  }
  return { last, length };
}

const digestOf = (text: string): string => createHash("sha256").update(text).digest("hex");
