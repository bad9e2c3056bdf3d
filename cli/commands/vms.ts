import { unlockStatement, type Vm, type VmForce } from "../../schemas/vm.ts";
import { readInteger } from "../arguments.ts";
import { apiCommand, type Command } from "../command.ts";
import { UsageError } from "../exit.ts";
import { alarmLines, showDuration } from "../units.ts";

const columns = {
  vm: (vm: Vm) => vm.vm,
  state: (vm: Vm) => (vm.stoppedBecause ? `${vm.runState} (${vm.stoppedBecause})` : vm.runState),
  host: (vm: Vm) => vm.owner?.hostId ?? "-",
  "memory MiB": (vm: Vm) => String(vm.spec.memoryMiB),
  migration: (vm: Vm) => vm.migration ?? "-",
  "memory errors": (vm: Vm) => (vm.guest ? String(vm.guest.memoryErrors) : "-"),
  alarms: (vm: Vm) => vm.alarms.map(({ code }) => code).join(", ") || "-",
};

const fields = {
  vm: (vm: Vm) => vm.vm,
  state: columns.state,
  wanted: (vm: Vm) => (vm.deleteRequested ? "deleted" : `${vm.wantedRunState}${vm.resetPending ? ", reset" : ""}`),
  host: columns.host,
  copy: (vm: Vm) => vm.owner?.copyId ?? null,
  "fencing token": (vm: Vm) => String(vm.fencingToken),
  migration: columns.migration,
  memory: ({ spec }: Vm) => `${spec.memoryMiB} MiB`,
  alarms: (vm: Vm) => alarmLines(vm.alarms),
  guest: ({ guest }: Vm) => {
    if (!guest) return "has said nothing of itself yet";
    const { bootId, heartbeats, memoryErrors, uptimeMs, dirtyMiBPerSecond } = guest;
    return [
      `boot id ${bootId}, up for ${showDuration(uptimeMs)}, ${heartbeats} heartbeats`,
      `${memoryErrors} memory errors, writes ${dirtyMiBPerSecond.toFixed(1)} MiB/s`,
    ];
  },
};

export const vmCommands: Command[] = [
  apiCommand({
    name: "vm define",
    summary: "define a VM; it starts when told to",
    example: "drover vm define --vm vm-1 --memory 128 --dirty 20",
    needs: ["vm"],
    takes: { memory: "MiB, 16 to 1024 (64)", dirty: "MiB/s that the guest writes, 0 to 400 (10)" },
    run: async ({ api, cluster, values, output }) => {
      const spec = {
        memoryMiB: readInteger("memory", values["memory"] as string | undefined, { min: 16, max: 1024, usual: 64 }),
        dirtyMiBPerSecond: readInteger("dirty", values["dirty"] as string | undefined, { min: 0, max: 400, usual: 10 }),
      };
      output.show(await api.defineVm(cluster, { vm: String(values["vm"]), spec }), columns);
    },
  }),
  apiCommand({
    name: "vm list",
    summary: "the VMs of a cluster",
    example: "drover vm list --cluster paris-1",
    run: async ({ api, cluster, output }) => output.show((await api.listVms(cluster)).items, columns),
  }),
  apiCommand({
    name: "vm show",
    summary: "one VM, with what its guest says of itself",
    example: "drover vm show --vm vm-1",
    needs: ["vm"],
    run: async ({ api, cluster, values, output }) =>
      output.showWhole(await api.getVm(cluster, String(values["vm"])), fields),
  }),
  apiCommand({
    name: "vm start",
    summary: "start a VM on a host",
    example: "drover vm start --vm vm-1 --host host-a",
    needs: ["vm", "host"],
    run: async ({ api, cluster, values, output }) =>
      output.show(await api.startVm(cluster, String(values["vm"]), String(values["host"])), columns),
  }),
  apiCommand({
    name: "vm stop",
    summary: "stop a VM",
    example: "drover vm stop --vm vm-1",
    needs: ["vm"],
    run: async ({ api, cluster, values, output }) =>
      output.show(await api.stopVm(cluster, String(values["vm"])), columns),
  }),
  apiCommand({
    name: "vm force",
    summary: "after its host was declared lost: start a VM from its disk, or take it back",
    example: 'drover vm force --vm vm-1 --start-from-disk host-b --reason "power cut in rack 7"',
    notes: [
      "Choose one. Starting from the disk loses what the guest had in memory. Taking back loses nothing: for a VM that",
      "was moving, whose destination had committed and was lost; its old host goes on if the lock file proves that the",
      "new one never ran it, and `drover vm show` tells (alarm take-back-refused) if it does not.",
      "A start waits while another process holds the VM's lock file: the guest may run after all. Find that process;",
      "only if it is gone and the file still looks held, add:",
      `  --override-lock-file "${unlockStatement}"`,
      "Said of a guest that runs, this makes two of it, and its disk is lost. More: docs/lost-host.md",
    ],
    needs: ["vm", "reason"],
    meant: { reason: '"WHY", for the record' },
    takes: {
      "start-from-disk": "HOST: a new start there; what the guest had in memory is lost",
      "override-lock-file": "the words above, with --start-from-disk: replaces a lock file whose holder is gone",
    },
    flags: { "take-back": "the source of a committed migration goes on, if the destination never ran the guest" },
    run: async ({ api, cluster, values, output }) => {
      const host = values["start-from-disk"] as string | undefined;
      if (Boolean(host) === Boolean(values["take-back"])) {
        throw new UsageError("choose one: --start-from-disk HOST or --take-back");
      }
      const asked = { reason: String(values["reason"]), action: readAction(host, values["override-lock-file"]) };
      output.show(await api.forceVm(cluster, String(values["vm"]), asked), columns);
    },
  }),
  apiCommand({
    name: "vm pause",
    summary: "let a guest stand where it is; it may be moved so",
    example: "drover vm pause --vm vm-1",
    needs: ["vm"],
    run: async ({ api, cluster, values, output }) =>
      output.show(await api.pauseVm(cluster, String(values["vm"])), columns),
  }),
  apiCommand({
    name: "vm resume",
    summary: "let a paused guest go on",
    example: "drover vm resume --vm vm-1",
    needs: ["vm"],
    run: async ({ api, cluster, values, output }) =>
      output.show(await api.resumeVm(cluster, String(values["vm"])), columns),
  }),
  apiCommand({
    name: "vm reset",
    summary: "reset a guest, as its reset button would",
    example: "drover vm reset --vm vm-1",
    needs: ["vm"],
    run: async ({ api, cluster, values, output }) =>
      output.show(await api.resetVm(cluster, String(values["vm"])), columns),
  }),
  apiCommand({
    name: "vm delete",
    summary: "stop a VM and delete it",
    example: "drover vm delete --vm vm-1",
    needs: ["vm"],
    run: async ({ api, cluster, values, output }) =>
      output.show(await api.deleteVm(cluster, String(values["vm"])), columns),
  }),
];

function readAction(host: string | undefined, override: string | boolean | undefined): VmForce["action"] {
  if (host === undefined) {
    if (override !== undefined) throw new UsageError("--override-lock-file goes with --start-from-disk");
    return { kind: "take-back" };
  }
  if (override === undefined) return { kind: "start-from-disk", host };
  if (override !== unlockStatement) {
    throw new UsageError(`--override-lock-file is to be, to the letter: "${unlockStatement}"`);
  }
  return { kind: "start-from-disk", host, overrideLockFile: unlockStatement };
}
