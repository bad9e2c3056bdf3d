// The built Worker bundle in workerd.
import assert from "node:assert/strict";
import { setTimeout as delay } from "node:timers/promises";
import { bundle } from "../../infra/bundle.ts";
import { startLocalWorker } from "../../infra/local/worker.ts";
import { suiteThrough } from "./door.ts";

suiteThrough("the Worker", async (variables, { signingKey, apiKey }) => {
  const { source } = await bundle("worker");
  const lines: string[] = [];
  const bare = await startLocalWorker(source, {}, (line) => lines.push(line));
  const unset = await bare.fetch("/v1/health", { method: "GET" });
  assert.equal(unset.status, 500, "without its bindings it serves nothing");
  for (let tries = 0; lines.length === 0 && tries < 100; tries++) await delay(20);
  assert.match(lines.join(), /DROVER_TABLE is missing/);
  await bare.stop();
  const worker = await startLocalWorker(source, {
    ...variables,
    DROVER_SIGNING_KEY: signingKey,
    DROVER_BOOTSTRAP_KEY: apiKey,
  });
  return { fetch: worker.fetch, tidy: worker.tidy, close: worker.stop };
});
