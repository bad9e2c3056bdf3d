import { z } from "zod";
import { Vm } from "../../schemas/vm.ts";
import { operatorWrite } from "../http/operator-route.ts";
import { stopVmWhereItIs } from "../operations/vms.ts";

export const stopVmRoute = operatorWrite({
  method: "post",
  path: "/v1/clusters/:cluster/vms/:vm/stop",
  scope: "administer",
  body: z.strictObject({}),
  summary: "Stops a VM wherever it is.",
  answer: { status: 202, schema: Vm },
  problems: ["vm-not-running"],
  run: (ports, operator, { cluster, vm }) => stopVmWhereItIs(ports, operator, cluster, vm),
});
