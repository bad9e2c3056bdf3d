import { playRow } from "./cells.ts";
import { destinationDiskFull, sourceDiskFull } from "./rows/disks.ts";

for (const row of [sourceDiskFull, destinationDiskFull]) playRow(row);
