import { z } from "zod";
import { ApiKey } from "../../schemas/api-key.ts";
import { operatorWrite } from "../http/operator-route.ts";
import { revokeKey } from "../operations/api-keys.ts";

export const revokeKeyRoute = operatorWrite({
  method: "delete",
  path: "/v1/keys/:key",
  scope: "administer",
  body: z.strictObject({}),
  summary: "Revokes an API key: it opens nothing from then on.",
  answer: { status: 200, schema: ApiKey },
  problems: ["last-administering-key"],
  run: (ports, operator, { key }) => revokeKey(ports, operator, key),
});
