import { z } from "zod";
import { text } from "../../schemas/text.ts";
import { operatorWrite } from "../http/operator-route.ts";
import { allScopes, createKey } from "../operations/api-keys.ts";

/** The answer alone has the secret. */
export const createKeyRoute = operatorWrite({
  method: "post",
  path: "/v1/keys",
  scope: "administer",
  body: z.strictObject({
    name: text(64).min(1),
    scopes: z.array(z.enum(allScopes)).min(1).max(allScopes.length),
  }),
  run: (ports, operator, _params, request) => createKey(ports, operator, request),
});
