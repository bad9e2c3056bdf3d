// A process that decides a gate when its standard input closes, and prints what stands.
import { FileGate } from "../../../agents/adapters/file-gate.ts";

const [folder, migrationId, word] = process.argv.slice(2);
const gate = new FileGate(folder ?? "");
console.log("ready");
process.stdin.resume();
process.stdin.on("end", async () =>
  console.log(await gate.decide(migrationId ?? "", word === "past" ? "past" : "cancelled")),
);
