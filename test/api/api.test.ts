// Every route, with valid and with hostile input, drawn from the API's own document: no fault of the server's, and no
// answer that the document does not tell of. `npm run fuzz:api -- --requests 1000000` asks more.
import assert from "node:assert/strict";
import { test } from "node:test";
import { playApi } from "./play-api.ts";

const requestsPerTest = 2000;

for (let seed = 1; seed <= 10; seed++) {
  test(`${requestsPerTest} requests of seed ${seed}: no fault, and no answer that is not documented`, async () => {
    const { requests } = await playApi(seed, requestsPerTest);
    assert.equal(requests, requestsPerTest);
  });
}
