// Explores the record of one migration exhaustively, and says how far it got.
import { exploreRecord } from "./record/explorer.ts";

const { states, steps, harm, stuck, reached } = exploreRecord();
process.stdout.write(`${states} states\n${steps} steps\n${[...reached].sort().join("\n")}\n`);
if (harm) process.stdout.write(`HARM: ${harm.what}\n  ${harm.trace.join("\n  ")}\n`);
const [shortest] = stuck.sort((one, other) => one.length - other.length);
if (shortest) process.stdout.write(`STUCK: ${stuck.length}\n  ${shortest.join("\n  ")}\n`);
if (harm || shortest) process.exitCode = 1;
