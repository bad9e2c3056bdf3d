import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { findBreaches, readSources } from "../../infra/boundaries.ts";

const breachesOf = (path: string, source: string): number => findBreaches([{ path, source }]).length;

describe("boundaries between the folders", () => {
  test("this tree keeps them", () => {
    const sources = readSources();
    assert.ok(sources.length > 20, "the sources are found");
    assert.deepEqual(findBreaches(sources), []);
  });

  const refused: [string, string, string][] = [
    ["functions do not import agents", "functions/operations/a.ts", 'import { b } from "../../agents/b.ts";'],
    ["agents do not import functions", "agents/a.ts", 'import type { B } from "../functions/ports/table.ts";'],
    ["schemas import no other package than zod", "schemas/a.ts", 'import { Hono } from "hono";'],
    ["schemas do not import ports", "schemas/a.ts", 'import type { T } from "../functions/ports/table.ts";'],
    ["a domain does not import its ports", "agents/domain/a.ts", 'import type { Clock } from "../ports/clock.ts";'],
    ["a domain does not import a package", "functions/domain/a.ts", 'import { z } from "zod";'],
    ["operations do not use Node's modules", "functions/operations/a.ts", 'import { join } from "node:path";'],
    ["nor do they load them later", "functions/operations/a.ts", 'const fs = await import("fs");'],
    ["nor for their effect alone", "functions/operations/a.ts", 'import "node:sqlite";'],
    ["routes do not use Buffer", "functions/routes/a.ts", 'export const a = Buffer.from("a");'],
    ["schemas do not read the environment", "schemas/a.ts", 'export const a = process.env["A"];'],
    ["the house knows no server of Node", "functions/http/a.ts", 'import { serve } from "@hono/node-server";'],
    ["nor Lambda", "functions/runtime/cloud.ts", 'import { handle } from "hono/aws-lambda";'],
    ["nor Workers", "functions/operations/a.ts", 'import { waitUntil } from "cloudflare:workers";'],
    ["a door does not know another's platform", "functions/runtime/worker.ts", 'import { a } from "hono/aws-lambda";'],
    ["nothing inside leads to a door", "functions/runtime/cloud.ts", 'import { handler } from "./lambda.ts";'],
    ["operations do not read the environment", "functions/http/a.ts", 'import { a } from "../runtime/environment.ts";'],
    ["a Worker does not use Node", "functions/runtime/worker.ts", 'import { join } from "node:path";'],
    ["re-exports count", "agents/a.ts", 'export { b } from "../functions/domain/b.ts";'],
    ["the product does not import its tools", "agents/a.ts", 'import { b } from "../cli/api.ts";'],
  ];
  for (const [title, path, source] of refused) {
    test(title, () => assert.ok(breachesOf(path, source) >= 1));
  }

  const allowed: [string, string, string][] = [
    ["the Node runtime uses Node", "functions/runtime/node.ts", 'import { join } from "node:path"; process.exit(0);'],
    ["the Lambda runtime knows Lambda", "functions/runtime/lambda.ts", 'import { handle } from "hono/aws-lambda";'],
    ["the Worker knows Workers", "functions/runtime/worker.ts", 'import { waitUntil } from "cloudflare:workers";'],
    [
      "the SQLite adapter uses Node",
      "functions/adapters/sqlite-table.ts",
      'import { DatabaseSync } from "node:sqlite";',
    ],
    ["agents use Node", "agents/main.ts", 'import { join } from "node:path"; process.exit(0);'],
    [
      "domains import schemas and themselves",
      "agents/domain/a.ts",
      'import { b } from "../../schemas/b.ts"; import { c } from "./c.ts";',
    ],
    ["comments are not code", "schemas/a.ts", '// unlike Buffer.from("a") or import "node:fs"\n/* process.env */'],
    [
      "a field named process is not Node's",
      "functions/domain/a.ts",
      "export const a = (b: { process(): void }) => b.process();",
    ],
  ];
  for (const [title, path, source] of allowed) {
    test(title, () => assert.equal(breachesOf(path, source), 0));
  }
});
