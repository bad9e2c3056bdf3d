// What the mutation run is told and what it wrote: the list of equivalent mutants, the results and their tables.
import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { parts } from "./groups.ts";
import { isCurrent, judge, pageOf, readResults, shareOf, totalOf } from "./page.ts";
import { readListed, scoreOf, squeeze, textAt } from "./score.ts";

const root = join(import.meta.dirname, "../..");

test("every listed mutant has a reason, and what it changes stands in a file under mutation", () => {
  const files = new Set(parts.flatMap((part) => part.files));
  for (const { file, from, why } of readListed()) {
    assert.ok(files.has(file), `${file} is not under mutation`);
    assert.ok(why.length > 20, `${file}: ${from}: why?`);
    assert.ok(squeeze(readFileSync(join(root, file), "utf8")).includes(from), `${file}: ${from} stands there no more`);
  }
});

test("what is to be mutated and what is to notice are there", () => {
  for (const { files, tests } of parts)
    for (const path of [...files, ...tests]) assert.ok(existsSync(join(root, path)), path);
});

test("what a mutant replaces is cut out of its file by line and column", () => {
  const source = "one two\nthree four\nfive";
  assert.equal(textAt(source, { line: 1, column: 5 }, { line: 1, column: 8 }), "two");
  assert.equal(squeeze(textAt(source, { line: 1, column: 5 }, { line: 2, column: 6 })), "two three");
});

test("the tables of docs/mutation.md are those of the results", () => {
  const page = readFileSync(join(root, "docs/mutation.md"), "utf8");
  assert.equal(pageOf(page, readResults(), readListed()), page);
});

test("what no test noticed has survived, and so has what came to nothing for another reason", () => {
  const mutant = (status: string, column: number, statusReason?: string) => ({
    mutatorName: "ConditionalExpression",
    replacement: "true",
    status,
    ...(statusReason === undefined ? {} : { statusReason }),
    location: { start: { line: 1, column }, end: { line: 1, column: column + 1 } },
  });
  const mutants = [
    mutant("Killed", 1),
    mutant("Timeout", 2),
    mutant("RuntimeError", 3, "Error running file. Tap process exited with code 1. To reproduce it …"),
    mutant("Ignored", 4),
    mutant("Survived", 5),
    mutant("NoCoverage", 6),
    mutant("RuntimeError", 7, "spawn ENOMEM"),
  ];
  const [score] = scoreOf({ files: { "a.ts": { source: "abcdefg", mutants } } }, []);
  assert.equal(score?.killed, 3);
  assert.deepEqual(
    score?.survivors.map(({ from }) => from),
    ["e", "f", "g"],
  );
});

test("each file has a result: none unlisted survived of the rule, and not a tenth of the rest", () => {
  const totalOfGroup = (group: "rule" | "core") =>
    totalOf(
      judge(group, readResults(), readListed()).map(({ file, counts }) => {
        assert.ok(counts, `${file} was not run yet`);
        return counts;
      }),
    );
  assert.equal(totalOfGroup("rule").survived, 0);
  assert.ok(shareOf(totalOfGroup("core")) >= 0.9);
});

// No failure: an edit would fail until the mutants had run anew, for minutes a file.
test("the results are of the files as they are now", (t) => {
  const results = readResults();
  const changed = parts.flatMap(({ files }) => files).filter((file) => !isCurrent(file, results));
  if (changed.length > 0) t.skip(`changed since: ${changed.join(", ")}; npm run mutation -- --changed --write`);
});

test("a survivor that is listed counts as equivalent, and of its own file alone", () => {
  const [survivor, other] = [
    { from: "a < b", to: "a <= b" },
    { from: "a < b", to: "true" },
  ];
  const results = { "agents/domain/role.ts": { source: "", killed: 5, survived: [survivor, other] } };
  const countsWith = (file: string) =>
    judge("rule", results, [{ ...survivor, file, why: "" }]).find((each) => each.file === "agents/domain/role.ts")
      ?.counts;
  assert.deepEqual(countsWith("agents/domain/role.ts"), { killed: 5, equivalent: 1, survived: 1 });
  assert.deepEqual(countsWith("agents/domain/source.ts"), { killed: 5, equivalent: 0, survived: 2 });
});
