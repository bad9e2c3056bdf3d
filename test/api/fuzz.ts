// npm run fuzz:api -- [--requests N] [--seed N]: requests drawn from the API's own document, until one is answered with a
// fault or with what the document does not tell of.
import { parseArgs } from "node:util";
import { playApi } from "./play-api.ts";

const { values } = parseArgs({
  options: { requests: { type: "string", default: "1000000" }, seed: { type: "string", default: "1" } },
});
const wholeNumber = (name: "requests" | "seed", most: number): number => {
  const value = Number(values[name]);
  if (Number.isInteger(value) && value >= 1 && value <= most) return value;
  console.error(`--${name}: a whole number from 1 to ${most}, not "${values[name]}"`);
  process.exit(2);
};
const requests = wholeNumber("requests", 100_000_000);
const firstSeed = wholeNumber("seed", 1_000_000);

const share = 10_000;
const began = performance.now();
const statuses: { [status: string]: number } = {};
for (let asked = 0, seed = firstSeed; asked < requests; asked += share, seed++) {
  const tally = await playApi(seed, Math.min(share, requests - asked));
  for (const counts of Object.values(tally.statuses)) {
    for (const [status, count] of Object.entries(counts)) statuses[status] = (statuses[status] ?? 0) + count;
  }
}
const seconds = (performance.now() - began) / 1000;
console.log(
  `${requests} requests in ${seconds.toFixed(0)} s, no fault, every answer as documented: ${JSON.stringify(statuses)}`,
);
