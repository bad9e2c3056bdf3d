import { givingBackMutants } from "./giving-back.ts";
import { testThatHarmIsFound } from "./harm-tests.ts";
import { memoryMutants } from "./memory.ts";
import { recordMutants } from "./record.ts";
import { relayMutants } from "./relays.ts";
import { silenceMutants } from "./silence.ts";

testThatHarmIsFound([...givingBackMutants, ...relayMutants, ...memoryMutants, ...silenceMutants, ...recordMutants]);
