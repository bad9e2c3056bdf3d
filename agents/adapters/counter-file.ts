// The highest acknowledged request number, kept beside the agent's identity. Each raise is one small write that
// outlives the process; it reaches the disk with the next heartbeat. So a restarted agent notices a table that went
// back exactly, one that lost power to within a heartbeat, and no verdict waits for a disk.
import { closeSync, constants, fsync, openSync, readSync, writeSync } from "node:fs";
import { promisify } from "node:util";
import { counterDigits } from "../../schemas/agent.ts";
import { durable } from "../durable-step.ts";
import type { AcknowledgedCounter } from "./signed-requests.ts";

const width = counterDigits + 1; // With the end of the line: a higher number overwrites a lower one whole.

const fileText = new RegExp(`^\\d{${counterDigits}}\\n$`);

/** @throws when the file cannot be read or written, or is damaged: the message names it */
export type CounterFile = AcknowledgedCounter & { close(): void };

export function openCounterFile(path: string): CounterFile {
  const file = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  let value = readCounter(file, path);
  let synced = value;
  return {
    get value() {
      return value;
    },
    raise(counter) {
      if (counter <= value) return;
      value = counter;
      durable("counter:raised", () => writeSync(file, `${String(counter).padStart(width - 1, "0")}\n`, 0));
    },
    async sync() {
      if (synced === value) return;
      const reached = value;
      await durable("counter:synced", () => promisify(fsync)(file));
      synced = reached;
    },
    close: () => closeSync(file),
  };
}

function readCounter(file: number, path: string): number {
  const buffer = Buffer.alloc(width + 1);
  const length = readSync(file, buffer, 0, width + 1, 0);
  if (length === 0) return 0;
  const text = buffer.toString("latin1", 0, length);
  if (!fileText.test(text))
    throw new Error(`the counter file ${path} is damaged; remove it to let this host begin anew`);
  return Number(text);
}

/** For simulation: the number lives as long as the object. */
export function memoryCounter(): AcknowledgedCounter {
  let value = 0;
  return {
    get value() {
      return value;
    },
    raise(counter) {
      value = Math.max(value, counter);
    },
    async sync() {},
  };
}
