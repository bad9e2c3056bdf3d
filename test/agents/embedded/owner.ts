// A caller in a process of its own, for tests that end it. Builds what its arguments say and tells of it in one line.
import { createEmbeddedHypervisor } from "../../../agents/adapters/embedded/hypervisor.ts";
import { smallSpec } from "./bench.ts";

const [task, directory = ""] = process.argv.slice(2);
const hypervisor = createEmbeddedHypervisor({ warmMemoryMiB: 16 });
if (task === "warm") {
  await hypervisor.warm();
  process.stdout.write("{}\n");
} else {
  const machine = await hypervisor.launch({
    vmId: "vm-1",
    copyId: "copy",
    spec: smallSpec,
    directory,
    arriving: false,
  });
  await machine.run();
  process.stdout.write(`${JSON.stringify(machine.reference)}\n`);
}
setInterval(() => undefined, 1000);
