import { Vm, VmForce } from "../../schemas/vm.ts";
import { hostObstacleCodes } from "../domain/obstacles.ts";
import { operatorWrite } from "../http/operator-route.ts";
import { forceVm } from "../operations/force-vm.ts";

export const forceVmRoute = operatorWrite({
  method: "post",
  path: "/v1/clusters/:cluster/vms/:vm/force",
  scope: "force",
  body: VmForce,
  summary: "Forces a VM whose host was declared lost: started from its disk, or its stopped copy taken back.",
  answer: { status: 202, schema: Vm },
  problems: [
    ...hostObstacleCodes,
    "host-not-lost",
    "host-may-decide",
    "destination-may-have-run",
    "not-committed",
    "vm-not-stopped",
    "vm-already-migrating",
    "already-committed",
    "already-aborted",
    "already-returned",
    "already-forced",
    "already-confirmed",
  ],
  run: (ports, operator, { cluster, vm }, request) => forceVm(ports, operator, cluster, vm, request),
});
