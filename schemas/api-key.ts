// API keys of operators as the API shows them. What each scope may do is said where it is checked.
import { z } from "zod";

export const allScopes = ["read", "migrate", "force", "administer"] as const;
export const Scope = z.enum(allScopes).meta({ id: "Scope" });
export type Scope = z.infer<typeof Scope>;

export const ApiKey = z
  .object({
    id: z.string(),
    name: z.string(),
    scopes: z.array(Scope),
    createdAt: z.iso.datetime(),
    createdBy: z.string().nullable().meta({ description: "The key that made it; null for the first." }),
  })
  .meta({ id: "ApiKey" });
export type ApiKey = z.infer<typeof ApiKey>;

export const NewApiKey = ApiKey.extend({
  key: z.string().meta({ description: "The secret: sent as `Authorization: Bearer <key>`. Nobody can read it again." }),
}).meta({ id: "NewApiKey" });
