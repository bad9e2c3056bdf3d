import { testScenarios } from "./scenarios.ts";

testScenarios(1, 1000); // The tests run two files at once.
