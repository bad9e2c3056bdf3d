import { testSpread } from "./spread.ts";

testSpread(["memo", "gate", "lock", "guest"], 3);
