// An agent's life, to be ended by kill -9: launches a copy, lets it run, keeps a spare, and says so.
import { openProcessCopies } from "../../../agents/adapters/process-copies.ts";
import type { CopyRequest } from "../../../agents/ports/copies.ts";

const [data, sharedVolume, request] = process.argv.slice(2);
const copies = await openProcessCopies({
  data: data ?? "",
  sharedVolume: sharedVolume ?? "",
  hypervisor: "embedded",
});
const copy = await copies.launch(JSON.parse(request ?? "") as CopyRequest);
const outcome = await copy.run(5);
copies.keepSpare();
console.log(outcome.kind);
setInterval(() => copies, 60_000);
