import { z } from "zod";
import { operatorWrite } from "../http/operator-route.ts";
import { stopVmWhereItIs } from "../operations/vms.ts";

export const stopVmRoute = operatorWrite({
  method: "post",
  path: "/v1/clusters/:cluster/vms/:vm/stop",
  scope: "administer",
  body: z.strictObject({}),
  run: (ports, operator, { cluster, vm }) => stopVmWhereItIs(ports, operator, cluster, vm),
});
