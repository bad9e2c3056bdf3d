import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir } from "node:fs/promises";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { requireWorkingLocks } from "../../../agents/adapters/lock-probe.ts";
import { MemoryLockVolume } from "../../../agents/adapters/memory-lock-file.ts";
import { SqliteLockFiles } from "../../../agents/adapters/sqlite-lock-file.ts";
import type { HeldLock } from "../../../agents/ports/lock-file.ts";
import { lockFileContract } from "../../contract/lock-file.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

lockFileContract("memory", async () => {
  const volume = new MemoryLockVolume();
  return { first: volume.as({}), second: volume.as({}), close: async () => {} };
});

lockFileContract("SQLite file", async () => {
  const folder = await temporaryFolder();
  return {
    first: new SqliteLockFiles(folder.path),
    second: new SqliteLockFiles(folder.path),
    close: folder.remove,
  };
});

const one = "copy_01KB0000000000000000000001";
const two = "copy_01KB0000000000000000000002";

test("a lock file held by another process is refused, and free the moment that process is killed", async () => {
  const folder = await temporaryFolder();
  const locks = new SqliteLockFiles(folder.path);
  const program = fileURLToPath(new URL("./holder.ts", import.meta.url));
  const holder = spawn(process.execPath, [program, folder.path, "vm-1", one, "3"], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    const [said] = await once(holder.stdout, "data");
    assert.equal(String(said).trim(), "taken");
    assert.deepEqual(await locks.take("vm-1", two, 4), { kind: "held" });
    assert.equal(await locks.read("vm-1"), "held");

    holder.kill("SIGKILL");
    await once(holder, "exit");
    assert.deepEqual(await locks.read("vm-1"), { copyId: one, fencingToken: 3, next: null });
    const outcome = await locks.take("vm-1", two, 4);
    assert.equal(outcome.kind, "taken");
    if (outcome.kind === "taken") await outcome.lock.release();
  } finally {
    holder.kill("SIGKILL");
    await folder.remove();
  }
});

test("a shared volume that is not mounted is not made, and the lock is not taken", async () => {
  const folder = await temporaryFolder();
  try {
    const missing = `${folder.path}/not-mounted`;
    await assert.rejects(new SqliteLockFiles(missing).take("vm-1", one, 1), /not-mounted is not there/);
  } finally {
    await folder.remove();
  }
});

test("memory: what a dead holder held is free and keeps its stamp; it holds nothing afterwards", async () => {
  const volume = new MemoryLockVolume();
  const holder = {};
  const outcome = await volume.as(holder).take("vm-1", one, 3);
  assert.equal(outcome.kind, "taken");
  volume.holderDied(holder);
  assert.deepEqual(await volume.as({}).read("vm-1"), { copyId: one, fencingToken: 3, next: null });
  if (outcome.kind === "taken") await assert.rejects(outcome.lock.permitNext({ copyId: two }));
});

test("a volume whose locks bar other processes passes the probe, which leaves nothing behind", async () => {
  const folder = await temporaryFolder();
  try {
    await requireWorkingLocks(folder.path);
    assert.deepEqual(await readdir(`${folder.path}/locks`), []);
    await assert.rejects(requireWorkingLocks(`${folder.path}/missing`), /missing is not there/);
  } finally {
    await folder.remove();
  }
});

test("who starts the guest unasked, in the moment when nobody holds its lock file, gets none: 1,000 attempts", async () => {
  const folder = await temporaryFolder();
  const [source, destination, rogue] = [0, 1, 2].map(() => new SqliteLockFiles(folder.path)) as [Locks, Locks, Locks];
  const copyOf = (number: number) => `copy_01KB${String(number).padStart(22, "0")}`;
  const stranger = copyOf(9_999_999);
  try {
    let held = await taken(source, copyOf(0), 1);
    for (let move = 1; move <= 250; move++) {
      await held.permitNext({ copyId: copyOf(move) });
      await held.release();
      for (const manner of ["usual", "own-only", "replace"] as const) {
        // No verdict, no higher token: the one of the record is the most that a stranger can name.
        assert.equal((await rogue.take("vm-1", stranger, move, manner)).kind, "superseded", `move ${move}, ${manner}`);
      }
      held = await taken(destination, copyOf(move), move + 1);
      assert.equal((await rogue.take("vm-1", stranger, move + 1)).kind, "held");
    }
    await held.release();
  } finally {
    await folder.remove();
  }
});

type Locks = SqliteLockFiles;

async function taken(locks: Locks, copyId: string, fencingToken: number): Promise<HeldLock> {
  const outcome = await locks.take("vm-1", copyId, fencingToken);
  if (outcome.kind !== "taken") assert.fail(outcome.kind);
  return outcome.lock;
}
