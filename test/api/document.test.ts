// The API's own document: valid, complete, and nothing but what is served.
import assert from "node:assert/strict";
import { test } from "node:test";
import { Validator } from "@seriousme/openapi-schema-validator";
import { createMemoryTable } from "../../functions/adapters/memory-table.ts";
import { createApp } from "../../functions/http/app.ts";
import { documentRoutes } from "../../functions/openapi/routes.ts";
import { routes } from "../../functions/routes/routes.ts";
import { ProblemDetails, problemCodes } from "../../schemas/problems.ts";
import { makeCluster } from "../functions/support/world.ts";
import { type Document, operationsOf } from "./operations.ts";

const world = await makeCluster([], { table: createMemoryTable() });
const answer = await world.raw("/openapi.json", {});
const document = (await answer.json()) as Document;

test("the document is valid OpenAPI 3.1, by a validator that is not ours", async () => {
  assert.equal(answer.headers.get("content-type"), "application/json");
  const { valid, errors } = await new Validator().validate(
    structuredClone(document) as unknown as { [name: string]: unknown },
  );
  assert.equal(valid, true, JSON.stringify(errors));
  assert.match(document.openapi, /^3\.1\./);
});

test("every route that is served is in it, and nothing else", () => {
  const served = createApp(world.ports, { log: () => {} })
    .routes.filter(({ method }) => method !== "ALL")
    .map(({ method, path }) => `${method} ${path.replaceAll(/:([a-z]+)/g, "{$1}")}`);
  const described = operationsOf(document).map(({ method, path }) => `${method} ${path}`);
  const ofItself = documentRoutes(routes).map(({ method, path }) => `${method.toUpperCase()} ${path}`);
  assert.deepEqual([...described, ...ofItself].sort(), served.sort());
});

test("operations have ids of their own; every parameter of an address and every reference leads somewhere", () => {
  const operations = operationsOf(document);
  assert.equal(new Set(operations.map(({ operation }) => operation.operationId)).size, operations.length);
  for (const { path, operation } of operations) {
    const named = [...path.matchAll(/\{([a-z]+)\}/g)].map(([, name]) => name);
    const told = (operation.parameters ?? []).filter((each) => each.in === "path").map(({ name }) => name);
    assert.deepEqual(told, named, path);
    assert.ok(operation.summary.length > 10, path);
  }
  const text = JSON.stringify(document);
  for (const [, kind = "", name = ""] of text.matchAll(/"\$ref":"#\/components\/([a-z]+)\/([^"]+)"/gi)) {
    assert.ok(document.components[kind as "schemas"]?.[name], `${kind}/${name}`);
  }
  assert.ok(!text.includes('"input:') && !text.includes('"output:'), "a reference that was given no name");
});

test("every problem has an example, which is a problem document, and some route that tells of it", () => {
  assert.deepEqual(Object.keys(document.components.examples).sort(), [...problemCodes].sort());
  for (const { value } of Object.values(document.components.examples)) ProblemDetails.parse(value);
  const general = ["route-unknown", "method-not-allowed"];
  const text = JSON.stringify(document.paths);
  for (const code of problemCodes) {
    assert.ok(general.includes(code) || text.includes(`#/components/examples/${code}"`), code);
  }
});

test("the page shows every operation, runs no script and loads nothing from elsewhere", async () => {
  const page = await world.raw("/docs", {});
  assert.equal(page.status, 200);
  assert.match(page.headers.get("content-security-policy") ?? "", /default-src 'none'/);
  const html = await page.text();
  for (const { path, operation } of operationsOf(document)) {
    assert.ok(html.includes(`id="${operation.operationId}"`), path);
    assert.ok(html.includes(`<code>${path}</code>`), path);
  }
  assert.doesNotMatch(html, /<script|src=|href="(?!#|openapi\.json)|url\(|@import/);
});
