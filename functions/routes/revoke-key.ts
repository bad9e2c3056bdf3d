import { z } from "zod";
import { operatorWrite } from "../http/operator-route.ts";
import { revokeKey } from "../operations/api-keys.ts";

export const revokeKeyRoute = operatorWrite({
  method: "delete",
  path: "/v1/keys/:key",
  scope: "administer",
  body: z.strictObject({}),
  run: (ports, operator, { key }) => revokeKey(ports, operator, key),
});
