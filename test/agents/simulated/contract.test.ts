import { createSimulatedClock } from "../../../agents/adapters/simulated/clock.ts";
import { createExecutionLog } from "../../../agents/adapters/simulated/execution-log.ts";
import { SimulatedHost } from "../../../agents/adapters/simulated/host.ts";
import { createSimulatedHypervisor } from "../../../agents/adapters/simulated/hypervisor.ts";
import { createSimulatedNetwork } from "../../../agents/adapters/simulated/network.ts";
import { type BenchHost, hypervisorContract } from "../../contract/hypervisor.ts";
import { seededRandom } from "../../support/seeded-random.ts";

hypervisorContract("simulated", async () => {
  const clock = createSimulatedClock();
  const network = createSimulatedNetwork({ clock });
  const random = seededRandom(1);
  const log = createExecutionLog();
  const hosts = ["host-a", "host-b"].map((hostId) => new SimulatedHost({ clock, network, random, log, hostId }));
  const [one, other] = hosts as [SimulatedHost, SimulatedHost];
  const stopClock = clock.runFreely();

  const benchHost = (host: SimulatedHost, address: string): BenchHost => ({
    hypervisor: createSimulatedHypervisor(host),
    address,
    makeDirectory: async () => "/simulated",
    again: () => createSimulatedHypervisor(host),
  });
  const find = (pid: number, startedAt: string, socket: string) => {
    const process = hosts
      .map((host) => host.find({ pid, startedAt, socket }))
      .find((found) => found?.reference.socket === socket);
    if (!process) throw new Error("no such process");
    return process;
  };
  return {
    hosts: [benchHost(one, "127.0.0.11"), benchHost(other, "127.0.0.12")],
    spec: { hypervisor: "simulated", image: "selftest", memoryMiB: 32, dirtyMiBPerSecond: 10, workingSetMiB: 8 },
    sleep: (milliseconds) => clock.sleep(milliseconds),
    kill: async ({ reference: { pid, startedAt, socket } }) => find(pid, startedAt, socket).vanish("killed", "killed"),
    powerOff: async ({ reference: { pid, startedAt, socket } }) =>
      find(pid, startedAt, socket).endGuest("powered-off", "the guest switched itself off"),
    failNextLaunch: () => {
      one.expectFault({ kind: "launch-fails", detail: "no memory left" });
      return async () => one.processes().length;
    },
    close: async () => stopClock(),
  };
});
