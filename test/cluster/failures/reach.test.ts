import { playRow } from "./cells.ts";
import { allCut, bothCutOff, destinationCutOff, functionsDown, networkCut, sourceCutOff } from "./rows/reach.ts";

for (const row of [sourceCutOff, destinationCutOff, bothCutOff, networkCut, allCut, functionsDown]) playRow(row);
