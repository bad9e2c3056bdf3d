import { testSpread } from "./spread.ts";

testSpread(["journal", "counter", "copy", "identity", "table"], 0);
