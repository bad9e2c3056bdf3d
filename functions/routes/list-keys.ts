import { ApiKey } from "../../schemas/api-key.ts";
import { listOf } from "../../schemas/list.ts";
import { operatorRead } from "../http/operator-route.ts";
import { listKeys } from "../operations/api-keys.ts";

export const listKeysRoute = operatorRead({
  path: "/v1/keys",
  scope: "administer",
  summary: "The API keys of this deployment, without their secrets.",
  answer: listOf(ApiKey),
  run: async (ports) => ({ items: await listKeys(ports) }),
});
