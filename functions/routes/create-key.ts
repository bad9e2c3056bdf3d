import { z } from "zod";
import { operatorWrite } from "../http/operator-route.ts";
import { createKey } from "../operations/api-keys.ts";

/** The answer alone has the secret. */
export const createKeyRoute = operatorWrite({
  method: "post",
  path: "/v1/keys",
  scope: "administer",
  body: z.strictObject({
    name: z.string().min(1).max(64),
    scopes: z
      .array(z.enum(["read", "migrate", "administer"]))
      .min(1)
      .max(3),
  }),
  run: (ports, operator, _params, request) => createKey(ports, operator, request),
});
