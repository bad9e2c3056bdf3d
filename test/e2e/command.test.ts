// The command as a process: its help, its version, and how it ends when nobody reads it.
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { closeSync, existsSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";
import { DroverProcess } from "./processes.ts";

const root = join(import.meta.dirname, "..", "..");
function drover(args: string[], environment: Record<string, string> = {}) {
  const options = { encoding: "utf8", env: { ...process.env, ...environment } } as const;
  return spawnSync(process.execPath, [join(root, "cli", "main.ts"), ...args], options);
}

test("help is given however it is asked for", () => {
  for (const [args, says] of [
    [["--help"], /^Drover moves.*drover demo/s],
    [["vm", "--help"], /^drover vm:.*drover vm start.*drover vm delete/s],
    [["vm", "help"], /^drover vm:/],
    [["help", "vm"], /^drover vm:/],
    [["migration", "-h"], /^drover migration:.*drover migration start/s],
    [["vm", "start", "--help"], /^drover vm start:/],
    [["help", "vm", "start"], /^drover vm start:/],
    [["vm", "help", "start"], /^drover vm start:/],
    [["demo", "--help"], /^drover demo:/],
  ] as const) {
    const { status, stdout, stderr } = drover([...args]);
    assert.equal(status, 0, stderr);
    assert.match(stdout, says, args.join(" "));
  }
  const unknown = drover(["help", "vms"]);
  assert.equal(unknown.status, 2);
  assert.match(unknown.stderr, /there is no command "vms"/);
});

test("the version is the package's", () => {
  const { version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
  assert.equal(drover(["--version"]).stdout, `drover ${version}\n`);
});

test("a TMPDIR that is no absolute path, or takes no folder, is refused by name", () => {
  for (const TMPDIR of [".", "/proc/drover"]) {
    const { status, stderr } = drover(["demo"], { TMPDIR });
    assert.equal(status, 2, stderr);
    assert.match(stderr, /^drover: TMPDIR is .*; set it to|^drover: TMPDIR is .*: set it to/);
  }
});

test("a number below its bounds is refused with them, not taken for an option", () => {
  const { status, stderr } = drover(["demo", "--dirty", "-1"]);
  assert.deepEqual([status, stderr], [2, 'drover: --dirty is a whole number from 0 to 400; "-1" was given\n']);
});

/** A disk that is full, as the output. */
function droverOntoFull(args: string[], TMPDIR = tmpdir()) {
  const full = openSync("/dev/full", "w");
  try {
    return spawnSync(process.execPath, [join(root, "cli", "main.ts"), ...args], {
      encoding: "utf8",
      stdio: ["ignore", full, "pipe"],
      env: { ...process.env, TMPDIR },
    });
  } finally {
    closeSync(full);
  }
}

const noFull = existsSync("/dev/full") ? false : "this system has no /dev/full";

test("what cannot be written is a failure with its reason", { skip: noFull }, () => {
  for (const args of [["--version"], ["vm", "list", "--help"]]) {
    const { status, stderr } = droverOntoFull(args);
    assert.equal(status, 1);
    assert.match(stderr, /^drover: the output cannot be written: ENOSPC/);
  }
});

describe("a demo", { skip: existsSync("/proc/self/environ") ? false : "a local cluster needs /proc" }, () => {
  test("that nobody reads any more takes everything down, and says so in one line", async () => {
    const demo = new DroverProcess(["demo", "--memory", "16"]);
    try {
      await demo.until("stdout", /host-a at/);
      demo.processes();
      demo.child.stdout?.destroy();
      assert.equal(await demo.ended, 141, demo.stderr);
      assert.equal(demo.stderr, "drover: interrupted: nobody reads the output any more\n");
      await demo.untilNothingLeft();
    } finally {
      await demo.dispose();
    }
  });

  test("or cluster whose address cannot be told fails with the reason", { skip: noFull }, async () => {
    const temporary = mkdtempSync(join(tmpdir(), "drover-e2e-"));
    try {
      const { status, stderr } = droverOntoFull(["up"], temporary);
      assert.equal(status, 1, stderr);
      assert.match(stderr, /drover: the output cannot be written: ENOSPC/);
      assert.deepEqual(readdirSync(temporary), []);
    } finally {
      rmSync(temporary, { recursive: true, force: true });
    }
    const up = new DroverProcess(["up"]);
    try {
      up.child.stdout?.destroy();
      assert.equal(await up.ended, 141, up.stderr);
      await up.untilNothingLeft();
    } finally {
      await up.dispose();
    }
  });

  test("whose report or progress cannot be written fails with the reason, and leaves nothing", { skip: noFull }, () => {
    for (const options of [[], ["--json", "--migrations", "1"]]) {
      const temporary = mkdtempSync(join(tmpdir(), "drover-e2e-"));
      try {
        const { status, stderr } = droverOntoFull(["demo", "--memory", "16", ...options], temporary);
        assert.equal(status, 1, stderr);
        assert.match(stderr, /drover: the output cannot be written: ENOSPC/);
        assert.deepEqual(readdirSync(temporary), []);
      } finally {
        rmSync(temporary, { recursive: true, force: true });
      }
    }
  });
});
