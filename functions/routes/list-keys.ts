import { operatorRead } from "../http/operator-route.ts";
import { listKeys } from "../operations/api-keys.ts";

export const listKeysRoute = operatorRead({
  path: "/v1/keys",
  scope: "administer",
  run: async (ports) => ({ items: await listKeys(ports) }),
});
