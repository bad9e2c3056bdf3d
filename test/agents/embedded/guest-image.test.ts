import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { test } from "node:test";
import { assemble } from "../../../agents/adapters/embedded/guest/build.ts";
import { selftestImage } from "../../../agents/adapters/embedded/guest/selftest-image.ts";

const hasNasm = spawnSync("nasm", ["-v"]).status === 0;

test("the committed image is what its source assembles to", { skip: hasNasm ? false : "nasm is not installed" }, () => {
  assert.deepEqual(Buffer.from(selftestImage()), assemble());
});
