// How to speak to a local cluster. Its key is shown to whoever sits at the terminal, and goes into no file or pipe: what
// is written there may be kept, or sent on, by others (docs/decisions/0009-a-key-on-a-terminal.md).
import type { Cluster } from "./cluster.ts";

export type Access = { api: { url: string } } & Pick<Cluster, "name" | "key" | "keyFile">;

export function tellAccess(access: Access, stream: Pick<NodeJS.WriteStream, "isTTY" | "write">): void {
  const { api, name, key, keyFile } = access;
  const lines = [
    "",
    `API   ${api.url} (cluster "${name}")`,
    stream.isTTY ? `key   ${key} (also in ${keyFile})` : `key   in ${keyFile}`,
    "",
    `  export DROVER_API=${api.url} DROVER_KEY_FILE=${quoted(keyFile)} DROVER_CLUSTER=${name}`,
    "  npm run --silent drover -- vm list",
    "Ctrl-C takes everything down.",
    "",
  ];
  stream.write(lines.join("\n"));
}

/** As a shell takes it for one word. */
function quoted(path: string): string {
  return /^[\w./:-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}
