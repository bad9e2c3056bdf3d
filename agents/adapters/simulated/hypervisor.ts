// A hypervisor without machines: the whole port in simulated time, deterministic under one seed, with faults on demand
// and a log of who executed what. For tests and simulations; the host and its log are shared by every life of a caller.
import type { Hypervisor, Machine } from "../../ports/hypervisor.ts";
import type { SimulatedHost, SimulatedProcess } from "./host.ts";

/** One caller's view of the host's guests. Another one on the same host finds the same machines by `adopt`. */
export function createSimulatedHypervisor(host: SimulatedHost): Hypervisor {
  return {
    kind: "simulated",
    version: async () => ({ kind: "simulated", version: "1" }),
    warm: async () => {},
    launch: async (request) => {
      const fault = host.takeFault("launch-fails");
      if (fault) throw new Error(fault.detail);
      return createMachine(host, host.launch(request));
    },
    adopt: async (reference) => {
      const process = host.find(reference);
      return process ? createMachine(host, process) : null;
    },
    close: async () => {},
  };
}

function createMachine(host: SimulatedHost, process: SimulatedProcess): Machine {
  const unlisten = new Set<() => void>();
  return {
    reference: process.reference,
    state: async () => process.state,
    run: async () => process.run(),
    stop: async () => process.stop(),
    reset: async () => process.reset(),
    settings: async () => process.settings(),
    receive: async (stream) => process.receive(stream),
    send: (stream) => process.send(stream),
    finish: async () => process.finish(),
    cancel: async () => process.cancel(),
    throttle: async (percent) => process.throttle(percent),
    destroy: async () => {
      if (host.find(process.reference)) process.vanish("destroyed", null);
    },
    listen: (listener) => {
      const stop = process.listen(listener);
      unlisten.add(stop);
      return () => {
        unlisten.delete(stop);
        stop();
      };
    },
    detach: () => {
      for (const stop of unlisten) stop();
      unlisten.clear();
    },
  };
}
