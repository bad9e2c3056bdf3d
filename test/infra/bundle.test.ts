import assert from "node:assert/strict";
import { isBuiltin } from "node:module";
import { describe, test } from "node:test";
import { bundle } from "../../infra/bundle.ts";

describe("the bundles", () => {
  test("a Worker is one file that needs nothing of Node, within 200 kB by gzip", async () => {
    const { imports, gzipBytes } = await bundle("worker");
    assert.deepEqual(imports, ["cloudflare:workers"]);
    assert.ok(gzipBytes <= 200_000, `${gzipBytes} bytes`);
  });

  test("a Lambda function is one file that needs Node alone, within 250 kB by gzip", async () => {
    const { imports, gzipBytes } = await bundle("lambda");
    assert.deepEqual(
      imports.filter((imported) => !isBuiltin(imported)),
      [],
    );
    assert.ok(gzipBytes <= 250_000, `${gzipBytes} bytes`);
  });
});
