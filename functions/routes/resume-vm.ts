import { z } from "zod";
import { Vm } from "../../schemas/vm.ts";
import { operatorWrite } from "../http/operator-route.ts";
import { wishVmWhereItIs } from "../operations/vms.ts";

export const resumeVmRoute = operatorWrite({
  method: "post",
  path: "/v1/clusters/:cluster/vms/:vm/resume",
  scope: "administer",
  body: z.strictObject({}),
  summary: "Lets a paused guest go on.",
  answer: { status: 202, schema: Vm },
  problems: ["vm-not-running"],
  run: (ports, operator, { cluster, vm }) => wishVmWhereItIs(ports, operator, cluster, vm, "resume"),
});
