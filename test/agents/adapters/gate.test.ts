import assert from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, utimes, writeFile } from "node:fs/promises";
import { text } from "node:stream/consumers";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { FileGate } from "../../../agents/adapters/file-gate.ts";
import { MemoryGate } from "../../../agents/adapters/memory-gate.ts";
import { gateContract } from "../../contract/gate.ts";
import { ulid } from "../../support/assignments.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

gateContract("memory", async () => {
  const gate = new MemoryGate();
  return { gate, again: () => gate, close: async () => {} };
});

gateContract("file", async () => {
  const folder = await temporaryFolder();
  return { gate: new FileGate(folder.path), again: () => new FileGate(folder.path), close: folder.remove };
});

test("of processes that race for a gate one wins, and all print the same", async () => {
  const folder = await temporaryFolder();
  const program = fileURLToPath(new URL("./decider.ts", import.meta.url));
  const children: ChildProcess[] = [];
  try {
    const outputs = ["past", "cancelled", "past", "cancelled"].map(async (word) => {
      const child = spawn(process.execPath, [program, folder.path, ulid("mig", 1), word], {
        stdio: ["pipe", "pipe", "inherit"],
      });
      children.push(child);
      await once(child.stdout, "readable");
      return { child, output: text(child.stdout) };
    });
    const ready = await Promise.all(outputs);
    for (const { child } of ready) child.stdin?.end();
    const answers = await Promise.all(ready.map(({ output }) => output));
    assert.equal(new Set(answers).size, 1, answers.join());
    assert.match(answers[0] ?? "", /^ready\n(past|cancelled)\n$/);
    assert.deepEqual(await readdir(folder.path), [ulid("mig", 1)], "nothing else is left in the folder");
  } finally {
    for (const child of children) child.kill("SIGKILL");
    await folder.remove();
  }
});

test("a damaged gate file is refused by name, never guessed", async () => {
  const folder = await temporaryFolder();
  try {
    await writeFile(`${folder.path}/${ulid("mig", 1)}`, "pa");
    await assert.rejects(new FileGate(folder.path).read(ulid("mig", 1)), /gate file .* is damaged/);
    await assert.rejects(new FileGate(folder.path).decide(ulid("mig", 1), "past"), /is damaged/);
  } finally {
    await folder.remove();
  }
});

test("what a decision that was cut short left is swept away; decisions, and one that is just being made, stay", async () => {
  const folder = await temporaryFolder();
  try {
    const migrationId = ulid("mig", 1);
    await new FileGate(folder.path).decide(migrationId, "past");
    const names = { left: `${ulid("mig", 2)}.aa.writing`, fresh: `${ulid("mig", 3)}.bb.writing` };
    for (const name of Object.values(names)) await writeFile(`${folder.path}/${name}`, "past\n");
    for (const name of [names.left, migrationId]) await utimes(`${folder.path}/${name}`, 1, 1);
    const gate = new FileGate(folder.path);
    assert.deepEqual((await readdir(folder.path)).toSorted(), [migrationId, names.fresh].toSorted());
    assert.equal(await gate.read(migrationId), "past");
  } finally {
    await folder.remove();
  }
});

test("a name that is no migration's reaches no file", async () => {
  const folder = await temporaryFolder();
  try {
    await assert.rejects(new FileGate(folder.path).decide("../escape", "past"));
  } finally {
    await folder.remove();
  }
});
