// Loaded ahead of an agent (node --import), and by it ahead of its supervisors and their guests: what they connect to on
// the migration network goes through a proxy where a file `route.json` in the host's folder for halts says so. Nothing of
// the product is another than without it.
import childProcess, { type SpawnOptions } from "node:child_process";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import net, { type TcpNetConnectOpts } from "node:net";
import { join } from "node:path";

export type Connection = "link" | "stream";
export type Endpoint = { address: string; port: number };
export type Route = { peerPort: number; connection: Connection; proxy: Endpoint };

export const routeName = "route.json";
export const targetName = "route-target.json";

function redirected(folder: string, options: TcpNetConnectOpts): TcpNetConnectOpts {
  let route: Route;
  try {
    route = JSON.parse(readFileSync(join(folder, routeName), "utf8")) as Route;
  } catch {
    return options; // None: the straight way.
  }
  const connection: Connection = options.port === route.peerPort ? "link" : "stream";
  if (connection !== route.connection) return options;
  const target: Endpoint = { address: String(options.host), port: options.port };
  const written = join(folder, `${targetName}.${process.pid}`);
  writeFileSync(written, JSON.stringify(target));
  renameSync(written, join(folder, targetName));
  return { ...options, host: route.proxy.address, port: route.proxy.port };
}

const folder = process.env["DROVER_HALT_STEPS"];
if (
  folder !== undefined &&
  process.execArgv
    .concat(process.env["NODE_OPTIONS"] ?? "")
    .join(" ")
    .includes("route.ts")
) {
  const { connect } = net;
  const { spawn } = childProcess;
  net.connect = net.createConnection = ((...words: Parameters<typeof connect>) => {
    const [options, ...more] = words as [unknown, ...unknown[]];
    const isFromHere = typeof options === "object" && options !== null && "localAddress" in options;
    const first = isFromHere ? redirected(folder, options as TcpNetConnectOpts) : options;
    return (connect as (...all: unknown[]) => net.Socket)(first, ...more);
  }) as typeof connect;
  childProcess.spawn = ((command: string, words: string[], options: SpawnOptions) =>
    spawn(command, words, {
      ...options,
      env: { ...options.env, NODE_OPTIONS: process.env["NODE_OPTIONS"] },
    })) as typeof spawn;
  syncBuiltinESMExports();
}
