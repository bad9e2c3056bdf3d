// What a failure shows of a process's log.
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { logTail } from "../../cli/cluster/child.ts";

test("the end of a log is shown; of an empty one whether it could have been written", () => {
  const folder = mkdtempSync(join(tmpdir(), "drover-log-"));
  try {
    const logFile = join(folder, "host-a.log");
    writeFileSync(logFile, "one\ntwo\nthree\n");
    assert.equal(logTail({ name: "host-a", logFile }, 2), "--- host-a, end of its log\ntwo\nthree");
    writeFileSync(logFile, "");
    assert.equal(logTail({ name: "host-a", logFile }), "--- host-a: its log is empty");
    const nowhere = join(folder, "gone", "host-a.log");
    assert.match(logTail({ name: "host-a", logFile: nowhere }), /its log is empty: .*gone takes no writes \(ENOENT\)$/);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
