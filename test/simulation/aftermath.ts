// Once nothing goes wrong any more, everything must come to rest: what was accepted has ended, each VM is as it is
// wanted or is known to be lost, and nothing is left behind.
import type { SimulatedProcess } from "../../agents/adapters/simulated/host.ts";
import type { Simulation } from "./simulation.ts";
import type { Workload } from "./workload.ts";

/** @returns one sentence for each thing that is not at rest yet; empty when all is well */
export function findUnrest(simulation: Simulation, workload: Workload): string[] {
  const { tableWatch, cluster } = simulation;
  const unrest: string[] = [];
  if (!simulation.faults.isTableAtRest) unrest.push("the table is being restored");
  for (const host of cluster.hosts) {
    if (simulation.keptBy(host).isFrozen) unrest.push(`${host.hostId} stands still: its table went back`);
  }
  if (!workload.isIdle) unrest.push("an operator still waits for an answer");
  for (const id of workload.accepted) {
    const migration = tableWatch.migrations.get(id);
    // What was accepted after the backup is forgotten with the table.
    if (!migration && simulation.tablesBefore > 0) continue;
    if (!migration) unrest.push(`migration ${id} was accepted and is not in the table`);
    else if (migration.stage !== "ended")
      unrest.push(`migration ${id} is ${migration.stage}, ${migration.verdict.kind}`);
  }
  for (const [hostId, slot] of tableWatch.slots) {
    if (slot.migration) unrest.push(`the slot of ${hostId} is held by ${slot.migration.migrationId}`);
  }
  const owners = new Set<string>();
  for (const vm of tableWatch.vms.values()) {
    const hasEnded = vm.runState === "stopped" || vm.runState === "guest-lost";
    if (vm.migrationId) unrest.push(`${vm.vmId} is held by ${vm.migrationId}`);
    if (vm.deleteRequested && !vm.deleted) unrest.push(`${vm.vmId} is to be deleted`);
    const executing = cluster.executions.executing(vm.vmId);
    if (vm.owner && !vm.deleted && !hasEnded) {
      owners.add(vm.owner.copyId);
      const isThere = executing.length === 1 && executing[0]?.copyId === vm.owner.copyId;
      if (vm.wantedRunState === "stopped") unrest.push(`${vm.vmId} is ${vm.runState}, and is to be stopped`);
      else if (vm.runState !== vm.wantedRunState)
        unrest.push(`${vm.vmId} is ${vm.runState}, and is to be ${vm.wantedRunState}`);
      if (vm.wantedRunState === "running" && !isThere) {
        unrest.push(
          `${vm.vmId} is executed by ${executing.map(({ copyId }) => copyId).join(", ") || "nobody"}, not by ${vm.owner.copyId}`,
        );
      }
    } else if (executing.length > 0) {
      unrest.push(`${vm.vmId} is ${vm.deleted ? "deleted" : vm.runState}, and ${executing[0]?.copyId} executes it`);
    }
  }
  for (const host of cluster.hosts) {
    for (const copyId of host.copyHost.copyIds()) {
      if (!owners.has(copyId)) unrest.push(`${copyId} is left on ${host.hostId}`);
    }
    for (const { copyId, state } of host.simulated.processes() as SimulatedProcess[]) {
      if (!owners.has(copyId)) unrest.push(`a process of ${copyId} (${state}) is left on ${host.hostId}`);
    }
    const { gates, journals } = simulation.keptBy(host);
    if (gates > 0) unrest.push(`${gates} gates are left on ${host.hostId}`);
    if (journals.length > 0) unrest.push(`journals of ${journals.join(", ")} are left on ${host.hostId}`);
  }
  const held = simulation.locks.holders();
  for (const { copyId, vmId } of held)
    if (!owners.has(copyId)) unrest.push(`the lock file of ${vmId} is left to ${copyId}`);
  for (const copyId of owners) {
    if (!held.some((holder) => holder.copyId === copyId)) unrest.push(`${copyId} runs without its lock file`);
  }
  return unrest;
}
