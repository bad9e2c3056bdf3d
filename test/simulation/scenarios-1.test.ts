import { test } from "node:test";
import { mustReachAll, playAll, tell } from "./scenarios.ts";

test("1,000 seeded scenarios keep every promise, and come by every rare point (1 of 2)", async () => {
  const sum = await playAll(1, 1000);
  console.log(tell(sum));
  mustReachAll(sum);
});
