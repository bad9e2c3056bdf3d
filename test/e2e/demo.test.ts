// The demo as its users run it: real processes, real guests, the public API.
import assert from "node:assert/strict";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, test } from "node:test";
import { DemoDocument } from "../../cli/demo/document.ts";
import { mostAtOnce } from "../../cli/demo/report.ts";
import { DroverProcess, type DroverProcessOptions } from "./processes.ts";

const started: DroverProcess[] = [];
function drover(args: string[], options: DroverProcessOptions = {}): DroverProcess {
  const made = new DroverProcess(args, options);
  started.push(made);
  return made;
}
afterEach(async () => {
  for (const made of started.splice(0)) await made.dispose();
});

const skip = existsSync("/proc/self/environ") ? false : "a local cluster needs /proc";
const skipAws =
  process.platform === "linux" && process.arch === "x64"
    ? skip
    : "the DynamoDB-compatible server is for linux-x64 alone";

async function runDemo(args: string[]): Promise<DemoDocument> {
  const demo = drover(["demo", "--json", ...args]);
  await demo.until("stderr", /runs on host-a, boot id/);
  assert.ok(demo.processes().length >= 4, "control plane, agents, supervisor and guest are processes of their own");
  assert.equal(await demo.ended, 0, demo.stderr);
  assert.deepEqual(demo.left(), [], "nothing is left running, no file is left");
  return DemoDocument.parse(JSON.parse(demo.stdout));
}

function isWellThereAndBack(document: DemoDocument): void {
  const [away, back] = document.migrations;
  assert.equal(document.migrations.length, 2);
  assert.deepEqual([away?.source, away?.destination], ["host-a", "host-b"]);
  assert.deepEqual([back?.source, back?.destination], ["host-b", "host-a"]);
  for (const migration of document.migrations) {
    assert.equal(migration.phase, "completed");
    assert.equal(migration.verdict, "committed");
    assert.equal(migration.encrypted, true);
    assert.ok(migration.rounds.length >= 1);
    assert.ok(migration.bytes >= 1_000_000, "a guest's memory was sent");
    assert.ok(migration.downtimeMs > 0 && migration.downtimeMs < migration.totalMs);
    assert.ok(Date.parse(migration.startedAt) <= Date.parse(migration.endedAt));
  }
  const [guest] = document.guests;
  assert.equal(document.guests.length, 1);
  assert.equal(guest?.bootIdUnchanged, true);
  assert.equal(guest?.memoryErrors, 0);
  assert.ok(guest && guest.heartbeats > 0);
}

describe("the demo", { skip }, () => {
  test("a running guest moves there and back, on SQLite and the long poll", async () => {
    const document = await runDemo(["--memory", "32"]);
    isWellThereAndBack(document);
    assert.deepEqual([document.hypervisor, document.table], ["embedded", "sqlite"]);
  });

  test("the same on DynamoDB and SQS", { skip: skipAws }, async () => {
    const document = await runDemo(["--memory", "32", "--table", "dynamodb", "--doorbell", "sqs"]);
    isWellThereAndBack(document);
    assert.equal(document.table, "dynamodb");
  });

  for (const runtime of ["lambda", "worker"]) {
    test(`the same with the control plane as a ${runtime}`, { skip: skipAws }, async () => {
      const document = await runDemo(["--memory", "32", "--runtime", runtime]);
      isWellThereAndBack(document);
      assert.equal(document.table, "dynamodb");
    });
  }

  test("guests on hosts of their own move at the same time", async () => {
    const { migrations, guests } = await runDemo([
      "--hosts",
      "4",
      "--guests",
      "2",
      "--memory",
      "32",
      "--migrations",
      "6",
    ]);
    assert.equal(migrations.length, 6);
    assert.equal(guests.length, 2);
    assert.equal(mostAtOnce(migrations), 2);
  });

  test("guests that share a pair of hosts take turns, and every move ends well", async () => {
    const { migrations } = await runDemo(["--guests", "2", "--memory", "32", "--migrations", "4"]);
    assert.equal(migrations.length, 4);
    assert.equal(mostAtOnce(migrations), 1, "one session per host");
  });

  test("without a terminal it tells its progress and its report in plain lines", async () => {
    const demo = drover(["demo", "--memory", "32"], { environment: { FORCE_COLOR: "0" } });
    assert.equal(await demo.ended, 0, demo.stderr);
    assert.match(demo.stdout, /round 0, [\d.]+ MiB in [\d.]+ m?s, .* left, sending .* MiB\/s, dirtied .* MiB\/s/);
    assert.match(demo.stdout, /never rebooted, 0 memory errors/);
    assert.equal(demo.stdout.includes("\u001b"), false);
  });

  test("killed by kill -9 in the middle of a migration, it leaves no process and no file", async () => {
    const demo = drover(["demo", "--json", "--memory", "64", "--migrations", "50"]);
    await demo.until("stderr", /precopy|round 0/);
    assert.ok(demo.processes().length >= 5);
    demo.child.kill("SIGKILL");
    await demo.ended;
    await demo.untilNothingLeft();
  });

  test("kept up, it answers the command, and Ctrl-C takes all of it down", async () => {
    const demo = drover(["demo", "--json", "--memory", "32", "--keep"]);
    const [, url = ""] = await demo.until("stderr", /DROVER_API=(\S+)/);
    const [, keyFile = ""] = await demo.until("stderr", /DROVER_KEY_FILE=(\S+)/);
    const environment = { DROVER_API: url, DROVER_KEY_FILE: keyFile, DROVER_CLUSTER: "local" };
    demo.processes();
    assert.equal(
      demo.stderr.includes(readFileSync(keyFile, "utf8").trim()),
      false,
      "a pipe is told the key's file alone",
    );

    const list = drover(["vm", "list", "-o", "json"], { environment });
    assert.equal(await list.ended, 0, list.stderr);
    const [vm] = JSON.parse(list.stdout);
    assert.deepEqual([vm.vm, vm.runState, vm.owner.hostId], ["vm-1", "running", "host-a"]);

    const move = drover(["migration", "start", "--vm", "vm-1", "--to", "host-b", "--wait", "-o", "json"], {
      environment,
    });
    assert.equal(await move.ended, 0, move.stderr);
    assert.equal(JSON.parse(move.stdout).phase, "completed");

    for (let hasSpoken = false; !hasSpoken; ) {
      const look = drover(["vm", "show", "--vm", "vm-1", "-o", "json"], { environment });
      assert.equal(await look.ended, 0, look.stderr);
      hasSpoken = JSON.parse(look.stdout).guest !== null; // With its new host's next heartbeat.
    }
    const whole: [string[], RegExp][] = [
      [
        ["vm", "show", "--vm", "vm-1"],
        /^state +running$[\s\S]*^alarms +-$[\s\S]*^guest +boot id [\s\S]*^ +0 memory errors/m,
      ],
      [["host", "show", "--host", "host-a"], /^alive +yes, lease until [\s\S]*^migration address +127\.0\.0\.11$/m],
      [
        ["migration", "show", "--migration", JSON.parse(move.stdout).id],
        /^downtime +\S+ ms: [\s\S]*^sent .* MiB, encrypted$[\s\S]*^rounds +round +sent [\s\S]*^ +0 /m,
      ],
    ];
    for (const [args, shown] of whole) {
      const show = drover(args, { environment });
      assert.equal(await show.ended, 0, show.stderr);
      assert.match(show.stdout, shown);
    }

    const nowhere = drover(["migration", "start", "--vm", "vm-1", "--to", "host-z"], { environment });
    assert.equal(await nowhere.ended, 7);
    assert.match(nowhere.stderr, /host-unknown/);
    assert.equal(nowhere.stdout, "");

    const wrongKeyFile = join(nowhere.temporary, "key");
    writeFileSync(wrongKeyFile, "drover_not-the-key");
    const wrongKey = drover(["host", "list"], { environment: { ...environment, DROVER_KEY_FILE: wrongKeyFile } });
    assert.equal(await wrongKey.ended, 4, wrongKey.stderr);
    assert.match(wrongKey.stderr, /key-unknown/);

    demo.child.kill("SIGINT");
    assert.equal(await demo.ended, 0, demo.stderr);
    assert.deepEqual(demo.left(), []);
  });

  test("when whoever launched it is killed by kill -9, it takes everything down", async () => {
    const demo = drover(["demo", "--json", "--memory", "32", "--keep"], { launched: true });
    await demo.until("stderr", /Ctrl-C takes everything down/);
    assert.ok(demo.processes().length >= 5);
    demo.child.kill("SIGKILL");
    await demo.untilNothingLeft();
  });

  test("a cluster that was only started stays until Ctrl-C", async () => {
    const up = drover(["up"]);
    const [, url = ""] = await up.until("stdout", /DROVER_API=(\S+)/);
    assert.equal((await fetch(new URL("/v1/health", url))).status, 200);
    assert.ok(up.processes().length >= 3);
    up.child.kill("SIGINT");
    assert.equal(await up.ended, 0, up.stderr);
    assert.deepEqual(up.left(), []);
  });

  test("interrupted while it starts, it leaves nothing either", async () => {
    const demo = drover(["demo", "--json"]);
    await demo.until("stderr", /control plane at/);
    demo.processes();
    demo.child.kill("SIGTERM");
    assert.equal(await demo.ended, 130);
    await demo.untilNothingLeft();
  });
});

describe("what the command refuses", () => {
  const refused: [string[], Record<string, string>, RegExp][] = [
    [["demo", "--hosts", "17"], {}, /--hosts is a whole number from 2 to 16; "17"/],
    [["demo", "--guests", "0"], {}, /--guests/],
    [["demo", "--memory", "sixty"], {}, /--memory .* from 16 to 1024; "sixty"/],
    [["demo", "--dirty", "-1"], {}, /--dirty/],
    [["demo", "--migrations", "1.5"], {}, /--migrations/],
    [["demo", "--table", "postgres"], {}, /--table is one of sqlite, dynamodb/],
    [["demo", "--runtime", "deno"], {}, /--runtime is one of node, lambda, worker/],
    [["demo", "--runtime", "worker", "--table", "sqlite"], {}, /--runtime worker goes with --table dynamodb/],
    [["demo", "--doorbel", "sqs"], {}, /no option --doorbel; did you mean --doorbell/],
    [["demo", "now"], {}, /now/],
    [["migraton", "list"], {}, /did you mean drover migration list/],
    [["vm", "list", "--cluster", "c"], {}, /DROVER_API is not set/],
    [["vm", "list", "--cluster", "c"], { DROVER_API: "nowhere" }, /DROVER_API is not an http address/],
    [["vm", "list", "--cluster", "c"], { DROVER_API: "http://127.0.0.1:1" }, /DROVER_KEY_FILE is not set/],
    [["vm", "list", "--cluster", "c"], { DROVER_API: "http://drover.example" }, /use https/],
    [["vm", "list", "--cluster", "c"], { DROVER_API: "https://me:secret@drover.example" }, /DROVER_KEY_FILE/],
    [["vm", "stop", "--vm", "vm-1", "--vm", "vm-3"], {}, /--vm is given more than once/],
    [["vm", "list"], {}, /DROVER_CLUSTER/],
    [["vm", "start", "--vm", "vm-1"], {}, /--host is missing/],
  ];
  for (const [args, environment, message] of refused) {
    test(`drover ${args.join(" ")} ${JSON.stringify(environment)}`, async () => {
      const command = drover(args, { environment });
      assert.equal(await command.ended, 2, command.stderr);
      assert.match(command.stderr, message);
      assert.equal(command.stdout, "");
    });
  }

  test("a temporary folder that is not there is named", async () => {
    const demo = drover(["demo"], { environment: { TMPDIR: "/nowhere" } });
    assert.equal(await demo.ended, 2, demo.stderr);
    assert.match(demo.stderr, /TMPDIR is \/nowhere/);
  });
});
