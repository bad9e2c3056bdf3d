import { playRow } from "./cells.ts";
import { bellsLost, bellsStormy } from "./rows/reach.ts";

for (const row of [bellsLost, bellsStormy]) playRow(row);
