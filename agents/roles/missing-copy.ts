// Stands for a copy that this host should have and has not: its process and its folder are gone.
import type { VmSpec } from "../../schemas/vm.ts";
import type { Copy } from "../ports/copies.ts";

export function missingCopy(vmId: string, copyId: string, spec: VmSpec): Copy {
  const missing = (): Promise<never> => Promise.reject(new Error(`copy ${copyId} of ${vmId} is gone from this host`));
  return {
    vmId,
    copyId,
    spec,
    migrationId: null,
    status: async () => ({
      machine: "ended",
      lock: "free",
      ended: { how: "killed", detail: "its process and its folder are gone" },
      gate: null,
      atGate: null,
      resets: 0,
    }),
    account: missing,
    run: missing,
    takeBackLock: missing,
    arrivePaused: missing,
    pause: missing,
    resume: missing,
    reset: missing,
    permitNext: missing,
    receive: missing,
    send: missing,
    throttle: missing,
    cancelStream: async () => {},
    holdAtGate: missing,
    passGate: missing,
    cancelAtGate: missing,
    destroy: async () => {},
    listen: () => () => {},
  };
}
