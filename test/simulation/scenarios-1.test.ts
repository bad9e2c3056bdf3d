import { test } from "node:test";
import { playAll, tell } from "./scenarios.ts";

test("1,000 seeded scenarios keep every promise (1 of 2)", async () => {
  console.log(tell(await playAll(1, 1000)));
});
