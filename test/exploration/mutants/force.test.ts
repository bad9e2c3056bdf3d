import { forceMutants } from "./force.ts";
import { testThatHarmIsFound } from "./harm-tests.ts";

testThatHarmIsFound(forceMutants);
