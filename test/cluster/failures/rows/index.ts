// The table of failures × phases, row by row.
import * as clocks from "./clocks.ts";
import * as disks from "./disks.ts";
import * as guests from "./guests.ts";
import * as processes from "./processes.ts";
import * as reach from "./reach.ts";
import * as wishes from "./wishes.ts";

export const rowModules = [processes, reach, clocks, disks, wishes, guests];
