import { setTimeout as sleep } from "node:timers/promises";
import { createEmbeddedHypervisor } from "../../../agents/adapters/embedded/hypervisor.ts";
import { type BenchHost, hypervisorContract } from "../../contract/hypervisor.ts";
import { addresses, asClient, makeBench, smallSpec } from "./bench.ts";

hypervisorContract("embedded", async () => {
  const bench = makeBench();
  const host = (address: string): BenchHost => ({
    hypervisor: bench.hypervisor,
    address,
    makeDirectory: bench.makeDirectory,
    again: () => createEmbeddedHypervisor(),
  });
  return {
    hosts: [host(addresses[0]), host(addresses[1])],
    spec: smallSpec,
    sleep,
    kill: bench.kill,
    powerOff: (machine) => asClient(machine).type("P"),
    close: bench.close,
  };
});
