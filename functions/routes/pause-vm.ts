import { z } from "zod";
import { Vm } from "../../schemas/vm.ts";
import { operatorWrite } from "../http/operator-route.ts";
import { wishVmWhereItIs } from "../operations/vms.ts";

export const pauseVmRoute = operatorWrite({
  method: "post",
  path: "/v1/clusters/:cluster/vms/:vm/pause",
  scope: "administer",
  body: z.strictObject({}),
  summary: "Lets a guest stand where it is; it may be moved so.",
  answer: { status: 202, schema: Vm },
  problems: ["vm-not-running"],
  run: (ports, operator, { cluster, vm }) => wishVmWhereItIs(ports, operator, cluster, vm, "pause"),
});
