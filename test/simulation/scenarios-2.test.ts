import { testScenarios } from "./scenarios.ts";

testScenarios(1001, 2000); // The tests run two files at once.
