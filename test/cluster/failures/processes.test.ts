import { playRow } from "./cells.ts";
import { destinationAgentDies, destinationHostDies, sourceAgentDies, sourceHostDies } from "./rows/processes.ts";

for (const row of [sourceAgentDies, sourceHostDies, destinationAgentDies, destinationHostDies]) playRow(row);
