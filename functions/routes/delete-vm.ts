import { z } from "zod";
import { Vm } from "../../schemas/vm.ts";
import { operatorWrite } from "../http/operator-route.ts";
import { deleteVmWhereItIs } from "../operations/vms.ts";

export const deleteVmRoute = operatorWrite({
  method: "delete",
  path: "/v1/clusters/:cluster/vms/:vm",
  scope: "administer",
  body: z.strictObject({}),
  summary: "Deletes a VM wherever it is; a running one is stopped first.",
  answer: { status: 202, schema: Vm },
  run: (ports, operator, { cluster, vm }) => deleteVmWhereItIs(ports, operator, cluster, vm),
});
