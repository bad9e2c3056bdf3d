import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { socketName } from "../../../agents/adapters/embedded/control-protocol.ts";
import { createEmbeddedHypervisor } from "../../../agents/adapters/embedded/hypervisor.ts";
import { type BenchHost, hypervisorContract } from "../../contract/hypervisor.ts";
import { addresses, asClient, makeBench, processesIn, smallSpec } from "./bench.ts";

hypervisorContract("embedded", async () => {
  const bench = makeBench();
  let failNext = false;
  const host = (address: string): BenchHost => ({
    hypervisor: bench.hypervisor,
    address,
    async makeDirectory() {
      const directory = await bench.makeDirectory();
      // Where the socket should be there is a folder: the process starts and cannot go on.
      if (failNext) await mkdir(join(directory, socketName, "in-the-way"), { recursive: true });
      failNext = false;
      return directory;
    },
    again: () => createEmbeddedHypervisor(),
  });
  return {
    hosts: [host(addresses[0]), host(addresses[1])],
    spec: smallSpec,
    sleep,
    kill: bench.kill,
    powerOff: (machine) => asClient(machine).type("P"),
    failNextLaunch() {
      failNext = true;
      return async () => processesIn(bench.folder).length;
    },
    close: bench.close,
  };
});
