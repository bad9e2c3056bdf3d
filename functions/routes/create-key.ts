import { z } from "zod";
import { allScopes, NewApiKey, Scope } from "../../schemas/api-key.ts";
import { text } from "../../schemas/text.ts";
import { operatorWrite } from "../http/operator-route.ts";
import { createKey } from "../operations/api-keys.ts";

/** The answer alone has the secret. */
export const createKeyRoute = operatorWrite({
  method: "post",
  path: "/v1/keys",
  scope: "administer",
  body: z.strictObject({
    name: text(64).min(1),
    scopes: z.array(Scope).min(1).max(allScopes.length),
  }),
  summary: "Makes an API key; the answer alone has the secret.",
  answer: { status: 201, schema: NewApiKey },
  run: (ports, operator, _params, request) => createKey(ports, operator, request),
});
