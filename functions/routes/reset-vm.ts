import { z } from "zod";
import { Vm } from "../../schemas/vm.ts";
import { operatorWrite } from "../http/operator-route.ts";
import { wishVmWhereItIs } from "../operations/vms.ts";

export const resetVmRoute = operatorWrite({
  method: "post",
  path: "/v1/clusters/:cluster/vms/:vm/reset",
  scope: "administer",
  body: z.strictObject({}),
  summary: "Resets a guest, as its reset button would.",
  answer: { status: 202, schema: Vm },
  problems: ["vm-not-running"],
  run: (ports, operator, { cluster, vm }) => wishVmWhereItIs(ports, operator, cluster, vm, "reset"),
});
