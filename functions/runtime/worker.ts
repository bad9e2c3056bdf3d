// The control plane on Cloudflare Workers: bindings in, the cron trigger as the last net. Clients live as long as the
// isolate; what goes on after an answer is the runtime's to keep alive.
import { waitUntil } from "cloudflare:workers";
import { type Cloud, createCloud, serve } from "./cloud.ts";
import { readCloudConfiguration, readCredentials } from "./cloud-environment.ts";
import type { Environment } from "./environment.ts";

let cloud: Cloud | null = null;

function open(bindings: Environment): Cloud {
  cloud ??= createCloud(readCloudConfiguration(bindings), { credentials: readCredentials(bindings), defer: waitUntil });
  return cloud;
}

export default {
  fetch: (request: Request, bindings: Environment): Promise<Response> => serve(() => open(bindings), request),
  scheduled: (_event: unknown, bindings: Environment): Promise<void> => open(bindings).tidy(),
};
