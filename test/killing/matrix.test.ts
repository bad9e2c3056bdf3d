// The matrix is whole: no durable step in the code goes without its cells.
import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { intervalsOf, overlaps } from "./checks.ts";
import { allCells, reached, unreachable } from "./matrix.ts";
import { scenarios } from "./scenarios.ts";
import { spreadOf } from "./spread.ts";
import { scanSteps, sources } from "./steps.ts";

describe("the kill matrix", () => {
  const steps = scanSteps();
  const cells = allCells();

  test("every durable step in the code is halted in some scenario, or says why it cannot be", () => {
    const missing = steps.filter(({ name }) => !reached[name] && !unreachable[name]).map(({ name }) => name);
    assert.deepEqual(missing, [], "name a scenario for them in test/killing/matrix.ts");
  });

  test("no step is in the matrix that is not in the code, and none is both reached and unreachable", () => {
    const names = new Set(steps.map(({ name }) => name));
    const strangers = [...Object.keys(reached), ...Object.keys(unreachable)].filter((name) => !names.has(name));
    assert.deepEqual(strangers, []);
    assert.deepEqual(
      Object.keys(reached).filter((name) => unreachable[name]),
      [],
    );
  });

  test("it has 300 cells or more, each of its own name, and at each step a kill and a stall before and after", () => {
    assert.ok(cells.length >= 300, `${cells.length} cells`);
    const ids = new Set(cells.map(({ id }) => id));
    assert.equal(ids.size, cells.length);
    for (const { name } of steps.filter((step) => reached[step.name])) {
      const own = cells.filter(({ step }) => step === name).map(({ moment, effect }) => `${moment}/${effect}`);
      for (const wanted of ["before/kill-self", "before/stall-self", "after/kill-self", "after/stall-self"]) {
        assert.ok(own.includes(wanted), `${name}: ${wanted}`);
      }
    }
    for (const { scenario } of cells) assert.ok(scenarios[scenario], scenario);
  });

  test("the spread of every day has each family of steps, and over the days each cell comes round", () => {
    const families = [...new Set(steps.map(({ name }) => name.split(":")[0] ?? ""))].filter(
      (name) => name !== "incarnation",
    );
    const days = Array.from({ length: 1000 }, (_, day) => spreadOf(families, day));
    assert.deepEqual(
      days[0]?.map(({ step }) => step.split(":")[0]),
      families,
    );
    const came = new Set(days.flat().map(({ id }) => id));
    const never = cells.filter(({ id, step }) => !came.has(id) && !step.startsWith("incarnation:"));
    assert.deepEqual(never, []);
  });

  test("whatever is synced or committed in the code stands in a file whose steps are named", () => {
    const writes =
      /\b(?:writeDurably|syncFolder|fsyncSync|fdatasyncSync|promisify\(fsync\)|\.sync\(\)|linkSync|renameSync)\b/;
    const found = sources("agents").filter(([, source]) => writes.test(source.replaceAll(/^\s*(?:\/\/|\*).*$/gm, "")));
    // These write; who calls them names the step.
    const behindNames = [
      "agents/adapters/counter-file.ts",
      "agents/adapters/durable-file.ts",
      "agents/adapters/file-gate.ts",
      "agents/adapters/file-journal.ts",
      "agents/adapters/halt-steps.ts",
      "agents/adapters/http-control-plane.ts",
      "agents/adapters/incarnation.ts",
      "agents/adapters/join.ts",
      "agents/adapters/process-copies.ts",
      "agents/adapters/sealed-log.ts",
      "agents/adapters/sqlite-lock-file.ts",
      "agents/supervisor/main.ts",
    ];
    assert.deepEqual(
      found.map(([path]) => path).filter((path) => !behindNames.includes(path)),
      [],
      "name their steps (agents/durable-step.ts), then list them here",
    );
    const commits = sources("functions").filter(
      ([path, source]) => path.startsWith("functions/operations/") && /table\.commit\(/.test(source),
    );
    assert.deepEqual(
      commits.map(([path]) => path),
      ["functions/operations/retry.ts"],
      "commit through commitStep, which names it",
    );
  });
});

describe("two copies at once are seen", () => {
  const note = (atNs: number, pid: number, executes: boolean) => ({
    atNs: String(atNs),
    pid,
    copyId: `copy_${pid}`,
    executes,
  });
  const check = (notes: ReturnType<typeof note>[], deaths: [number, bigint][] = []) =>
    overlaps(intervalsOf(notes, new Map(deaths), 1000n)).length;

  test("one after the other is well", () => {
    assert.equal(check([note(1, 1, true), note(5, 1, false), note(6, 2, true)]), 0);
  });
  test("one before the other stands is not", () => {
    assert.equal(check([note(1, 1, true), note(4, 2, true), note(5, 1, false)]), 1);
  });
  test("a guest that was killed executes no more", () => {
    assert.equal(check([note(1, 1, true), note(6, 2, true)], [[1, 5n]]), 0);
    assert.equal(check([note(1, 1, true), note(6, 2, true)], [[1, 7n]]), 1);
  });
  test("one that never said that it stands executes to this day", () => {
    assert.equal(check([note(1, 1, true), note(6, 2, true)]), 1);
  });
});
