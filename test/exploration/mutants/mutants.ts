import { destinationMutants } from "./destination.ts";
import { forceMutants } from "./force.ts";
import { lockMutants } from "./lock.ts";
import type { Mutant } from "./mutant.ts";
import { restoreMutants } from "./restore.ts";
import { sourceMutants } from "./source.ts";
import { tableMutants } from "./table.ts";

export const mutants: Mutant[] = [
  ...sourceMutants,
  ...destinationMutants,
  ...tableMutants,
  ...lockMutants,
  ...forceMutants,
  ...restoreMutants,
];
