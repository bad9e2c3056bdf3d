import { test } from "node:test";
import { mustReachAll, playAll, tell } from "./scenarios.ts";

test("1,000 seeded scenarios keep every promise, and come by every rare point (2 of 2)", async () => {
  const sum = await playAll(1001, 2000);
  console.log(tell(sum));
  mustReachAll(sum);
});
