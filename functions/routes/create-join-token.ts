import { z } from "zod";
import { HostId } from "../../schemas/ids.ts";
import { JoinToken } from "../../schemas/join-token.ts";
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
  summary: "Makes a one-time token for a host to join with; the answer alone has it.",
  answer: { status: 201, schema: JoinToken },
  problems: ["cluster-full"],
  run: (ports, operator, { cluster }, request) => createJoinToken(ports, operator, cluster, request),
});
