import { Host, HostLoss } from "../../schemas/host.ts";
import { operatorWrite } from "../http/operator-route.ts";
import { declareHostLost } from "../operations/lost-hosts.ts";

export const declareHostLostRoute = operatorWrite({
  method: "post",
  path: "/v1/clusters/:cluster/hosts/:host/declare-lost",
  scope: "force",
  body: HostLoss,
  summary: "Declares that an incarnation of a host has ended, in words.",
  answer: { status: 200, schema: Host },
  problems: ["host-alive", "incarnation-stale"],
  run: (ports, operator, { cluster, host }, request) => declareHostLost(ports, operator, cluster, host, request),
});
