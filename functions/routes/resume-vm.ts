import { z } from "zod";
import { operatorWrite } from "../http/operator-route.ts";
import { wishVmWhereItIs } from "../operations/vms.ts";

export const resumeVmRoute = operatorWrite({
  method: "post",
  path: "/v1/clusters/:cluster/vms/:vm/resume",
  scope: "administer",
  body: z.strictObject({}),
  run: (ports, operator, { cluster, vm }) => wishVmWhereItIs(ports, operator, cluster, vm, "resume"),
});
