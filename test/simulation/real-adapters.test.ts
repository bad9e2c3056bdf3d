import { test } from "node:test";
import { playAll } from "./scenarios.ts";

test("60 scenarios on the product's own files, SQLite table and HTTP: every promise is kept; npm run simulate plays more", async () => {
  await playAll(1, 60, { simulation: { adapters: "files" } });
});
