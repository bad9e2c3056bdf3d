// Progress on a terminal: a status line is no wider than it, and whole where it cannot say how wide it is.
import assert from "node:assert/strict";
import { test } from "node:test";
import { createProgress } from "../../cli/progress.ts";

process.env["TERM"] = "xterm";

function drawnOn(columns: number | undefined, text: string): string {
  let written = "";
  const write = (chunk: string) => {
    written += chunk;
    return true;
  };
  const stream = { isTTY: true, columns, write } as unknown as NodeJS.WriteStream;
  createProgress(stream).status("vm-1", text);
  return written;
}

test("a status line is cut at the terminal's width", () => {
  assert.equal(drawnOn(30, "x".repeat(100)), `${"x".repeat(29)}\n`);
});

test("a terminal that does not know its width, as a serial console, is taken for 80 columns", () => {
  for (const columns of [0, undefined]) assert.equal(drawnOn(columns, "x".repeat(100)), `${"x".repeat(79)}\n`);
});
