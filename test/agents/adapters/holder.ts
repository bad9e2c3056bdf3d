// A process that takes a lock file, says so on its standard output, and holds it until it dies.
import { SqliteLockFiles } from "../../../agents/adapters/sqlite-lock-file.ts";

const [volume, vmId, copyId, token] = process.argv.slice(2);
const outcome = await new SqliteLockFiles(volume ?? "").take(vmId ?? "", copyId ?? "", Number(token));
console.log(outcome.kind);
setInterval(() => outcome, 60_000);
