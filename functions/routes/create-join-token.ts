import { z } from "zod";
import { HostId } from "../../schemas/ids.ts";
import { operatorWrite } from "../http/operator-route.ts";
import { createJoinToken } from "../operations/clusters.ts";

const hourMs = 3_600_000;

export const createJoinTokenRoute = operatorWrite({
  method: "post",
  path: "/v1/clusters/:cluster/join-tokens",
  scope: "administer",
  body: z.strictObject({
    host: HostId,
    validForMs: z
      .int()
      .min(1000)
      .max(7 * 24 * hourMs)
      .default(hourMs),
  }),
  run: (ports, operator, { cluster }, request) => createJoinToken(ports, operator, cluster, request),
});
