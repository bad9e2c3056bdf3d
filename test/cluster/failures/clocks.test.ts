import { playRow } from "./cells.ts";
import { destinationSuspended, runRefused, sourceSuspended, wallClocksJump } from "./rows/clocks.ts";

for (const row of [runRefused, wallClocksJump, sourceSuspended, destinationSuspended]) playRow(row);
