// The control plane as the Lambda function or the Worker that it is when deployed, behind a plain HTTP address on
// loopback. Told of the Node runtime's variables, and DROVER_RUNTIME; prints {"listening":"http://127.0.0.1:PORT"} when
// ready, ends on SIGTERM and SIGINT. One process serves all requests at once, where Lambda would have an instance each.
import { mkdtemp, readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { serve } from "@hono/node-server";
import { bundle } from "../bundle.ts";
import { asEvent, asResponse, type LambdaHandler } from "./lambda-events.ts";
import { startLocalWorker } from "./worker.ts";

type Variables = { [name: string]: string };
type Inside = { fetch(request: Request): Promise<Response>; tidy(): Promise<void>; stop(): Promise<void> };

/** As often as the schedules of AWS and Cloudflare come at most. */
const tidyMs = 60_000;

const openers: { [runtime: string]: (variables: Variables) => Promise<Inside> } = {
  async lambda(variables) {
    const file = join(await mkdtemp(join(tmpdir(), "drover-lambda-")), "lambda.mjs");
    await writeFile(file, (await bundle("lambda")).source);
    Object.assign(process.env, variables);
    const { handler, tidy }: { handler: LambdaHandler; tidy: () => Promise<void> } = await import(
      pathToFileURL(file).href
    );
    return {
      fetch: async (request) => asResponse(await handler(await asEvent(request), {})),
      tidy,
      stop: async () => {},
    };
  },
  async worker(variables) {
    const worker = await startLocalWorker((await bundle("worker")).source, variables, (line) => console.error(line));
    return {
      async fetch(request) {
        const { pathname, search } = new URL(request.url);
        const body = request.body ? { body: await request.arrayBuffer() } : {};
        return worker.fetch(pathname + search, { method: request.method, headers: plain(request.headers), ...body });
      },
      tidy: worker.tidy,
      stop: worker.stop,
    };
  },
};

/** Without what belongs to the connection that it came by. */
function plain(headers: Headers): Variables {
  const own = /^(connection|keep-alive|transfer-encoding|content-length|host)$/;
  return Object.fromEntries([...headers].filter(([name]) => !own.test(name)));
}

function need(name: string): string {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is missing`);
  return value;
}

const [host, port] = (process.env["DROVER_LISTEN"] ?? "127.0.0.1:0").split(":");
if (host !== "127.0.0.1" || !/^\d{1,5}$/.test(port ?? "")) throw new Error("DROVER_LISTEN: 127.0.0.1:PORT");
const open = openers[need("DROVER_RUNTIME")];
if (!open) throw new Error(`DROVER_RUNTIME: one of ${Object.keys(openers).join(", ")}`);
const secret = async (name: string): Promise<string> => (await readFile(need(name), "utf8")).trim();
const given = Object.entries(process.env).filter((entry): entry is [string, string] => /^(AWS|DROVER)_/.test(entry[0]));
const inside = await open({
  ...Object.fromEntries(given),
  DROVER_SIGNING_KEY: await secret("DROVER_SIGNING_KEY_FILE"),
  DROVER_BOOTSTRAP_KEY: await secret("DROVER_BOOTSTRAP_KEY_FILE"),
});

const tidying = setInterval(() => {
  inside.tidy().catch((error: unknown) => console.error(`tidying failed: ${error}`));
}, tidyMs);
const server = serve({ fetch: (request) => inside.fetch(request), hostname: host, port: Number(port) }, (info) => {
  process.stdout.write(`${JSON.stringify({ listening: `http://127.0.0.1:${info.port}` })}\n`);
});
if ("keepAliveTimeout" in server) server.keepAliveTimeout = 65_000; // Agents keep their connection warm.

async function stop(): Promise<void> {
  clearInterval(tidying);
  if ("closeAllConnections" in server) server.closeAllConnections();
  server.close();
  await inside.stop();
  process.exit(0);
}
process.once("SIGTERM", stop);
process.once("SIGINT", stop);
