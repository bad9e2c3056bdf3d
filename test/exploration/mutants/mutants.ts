import { destinationMutants } from "./destination.ts";
import { forceMutants } from "./force.ts";
import { givingBackMutants } from "./giving-back.ts";
import { lockMutants } from "./lock.ts";
import { memoryMutants } from "./memory.ts";
import type { Mutant } from "./mutant.ts";
import { recordMutants } from "./record.ts";
import { relayMutants } from "./relays.ts";
import { restoreMutants } from "./restore.ts";
import { silenceMutants } from "./silence.ts";
import { sourceMutants } from "./source.ts";
import { tableMutants } from "./table.ts";

export const mutants: Mutant[] = [
  ...sourceMutants,
  ...destinationMutants,
  ...givingBackMutants,
  ...relayMutants,
  ...memoryMutants,
  ...silenceMutants,
  ...recordMutants,
  ...tableMutants,
  ...lockMutants,
  ...forceMutants,
  ...restoreMutants,
];
