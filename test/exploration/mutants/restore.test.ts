import { testThatHarmIsFound } from "./harm-tests.ts";
import { restoreMutants } from "./restore.ts";

testThatHarmIsFound(restoreMutants);
