// How to speak to a local cluster.
import type { Cluster } from "./cluster.ts";

export function describeAccess(cluster: Cluster): string {
  return [
    `API   ${cluster.api.url} (cluster "${cluster.name}")`,
    `key   in ${cluster.keyFile}`,
    "",
    `  export DROVER_API=${cluster.api.url} DROVER_KEY_FILE=${quoted(cluster.keyFile)} DROVER_CLUSTER=${cluster.name}`,
    "  npm run --silent drover -- vm list",
  ].join("\n");
}

/** As a shell takes it for one word. */
function quoted(path: string): string {
  return /^[\w./:-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}
