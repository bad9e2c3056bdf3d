import { listOf } from "../../schemas/list.ts";
import { Vm } from "../../schemas/vm.ts";
import { operatorRead } from "../http/operator-route.ts";
import { isProblem } from "../http/problems.ts";
import { listVms } from "../operations/vms.ts";

export const listVmsRoute = operatorRead({
  path: "/v1/clusters/:cluster/vms",
  summary: "The VMs of a cluster.",
  answer: listOf(Vm),
  async run(ports, { cluster }) {
    const vms = await listVms(ports, cluster);
    return isProblem(vms) ? vms : { items: vms };
  },
});
