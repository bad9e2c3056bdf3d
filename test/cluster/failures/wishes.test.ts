import { playRow } from "./cells.ts";
import { cancelLoses, userCancels, userDeletes, userStops } from "./rows/wishes.ts";

for (const row of [userCancels, cancelLoses, userStops, userDeletes]) playRow(row as typeof userCancels);
