import { z } from "zod";
import { operatorWrite } from "../http/operator-route.ts";
import { deleteVmWhereItIs } from "../operations/vms.ts";

export const deleteVmRoute = operatorWrite({
  method: "delete",
  path: "/v1/clusters/:cluster/vms/:vm",
  scope: "administer",
  body: z.strictObject({}),
  run: (ports, operator, { cluster, vm }) => deleteVmWhereItIs(ports, operator, cluster, vm),
});
