// The control plane as a Node process: reads the environment, serves until SIGTERM, finishes what is open, ends with 0.
import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import process from "node:process";
import { type ServerType, serve } from "@hono/node-server";
import { signerFrom } from "../../schemas/signing.ts";
import { createLongPollDoorbell } from "../adapters/long-poll-doorbell.ts";
import { createApp } from "../http/app.ts";
import { installBootstrapKey } from "../operations/api-keys.ts";
import { explainNaming, nameTable } from "../operations/name-table.ts";
import { tidyAll } from "../operations/tidy.ts";
import type { Doorbell } from "../ports/doorbell.ts";
import type { Ports } from "../ports/ports.ts";
import type { Table } from "../ports/table.ts";
import { BadEnvironment, badSigningKey, checkApiKey } from "./environment.ts";
import { haltsFrom } from "./halt-steps.ts";
import { logLine, textOf } from "./log.ts";
import { type Configuration, readConfiguration } from "./node-environment.ts";
import { openTable } from "./open-table.ts";
import { systemPorts } from "./system-ports.ts";

const tidyMs = 3000;
const closingMs = 10_000;

async function openDoorbell({ doorbell }: Configuration): Promise<Doorbell> {
  if (doorbell.kind === "long-poll") return createLongPollDoorbell();
  const { openSqsDoorbell } = await import("./open-sqs-doorbell.ts");
  return openSqsDoorbell(doorbell, {
    onFailure: (host, error) =>
      report("a ring failed", { host: `${host.clusterId}/${host.hostId}`, error: textOf(error) }),
  });
}

function readSecret(name: string, path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch (error) {
    throw new BadEnvironment(`${name} names "${path}", which cannot be read (${textOf(error)}): name a readable file.`);
  }
}

async function openPorts(configuration: Configuration): Promise<Ports> {
  const keyFile = "DROVER_BOOTSTRAP_KEY_FILE";
  const apiKey = checkApiKey(keyFile, readSecret(keyFile, configuration.bootstrapKeyFile));
  const signingKey = readSecret("DROVER_SIGNING_KEY_FILE", configuration.signingKeyFile);
  await signerFrom(signingKey).catch(() => {
    throw badSigningKey("DROVER_SIGNING_KEY_FILE");
  });
  const doorbell = await openDoorbell(configuration);
  const atStep = haltsFrom(process.env);
  atStep?.("table:opened", "before");
  const table = await openNamedTable(configuration);
  atStep?.("table:opened", "after");
  const { settings } = configuration;
  const system = await systemPorts({ table, doorbell, signingKey, settings });
  const ports: Ports = { ...system, ...(atStep ? { atStep } : {}) };
  const naming = await nameTable(ports).catch((error: unknown) => {
    if (configuration.table.kind !== "dynamodb") throw error;
    const { name } = configuration.table;
    throw new BadEnvironment(
      `DROVER_TABLE names DynamoDB's table "${name}", which cannot be read (${textOf(error)}): see the table, the region, the AWS credentials and what they permit.`,
    );
  });
  if (naming.kind === "other") throw new BadEnvironment(explainNaming(naming, settings));
  await installBootstrapKey(ports, apiKey);
  return ports;
}

async function openNamedTable(configuration: Configuration): Promise<Table> {
  try {
    return await openTable(configuration);
  } catch (error) {
    throw new BadEnvironment(
      `DROVER_TABLE cannot be opened (${textOf(error)}): see that its folder exists and is writable.`,
    );
  }
}

function report(event: string, data: { [name: string]: string }): void {
  process.stderr.write(`${logLine(event, data)}\n`);
}

function onTableFault(step: string, error: unknown): void {
  report("table-fault", { step, error: textOf(error) });
}

/** Work that goes on after the answer; waited for at the end. */
function keepTrack(): { defer: (work: Promise<void>) => void; settle: () => Promise<void> } {
  const open = new Set<Promise<void>>();
  return {
    defer(work) {
      const tracked = work
        .catch((error: unknown) => report("work after an answer failed", { error: textOf(error) }))
        .finally(() => open.delete(tracked));
      open.add(tracked);
    },
    settle: async () => {
      await Promise.all(open);
    },
  };
}

// A log that takes nothing (a full disk, a closed pipe) must not end the control plane.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});

async function main(): Promise<void> {
  const configuration = readConfiguration(process.env);
  await requireListenable(configuration.listen);
  const track = keepTrack();
  const ports: Ports = { ...(await openPorts(configuration)), defer: track.defer, onTableFault };
  const { host: hostname, port } = configuration.listen;
  const closing = new AbortController();
  const server = serve({ fetch: createApp(ports, { closing: closing.signal }).fetch, hostname, port }, (info) => {
    const host = info.address.includes(":") ? `[${info.address}]` : info.address;
    process.stdout.write(`${JSON.stringify({ listening: `http://${host}:${info.port}` })}\n`);
  });
  server.on("error", (error) => {
    process.stderr.write(`${explainListening(configuration.listen, error)}\n`);
    process.exit(2);
  });
  if ("keepAliveTimeout" in server) server.keepAliveTimeout = 65_000; // Agents keep their connection warm.
  let isTidying = false;
  const tidying = setInterval(() => {
    if (isTidying) return;
    isTidying = true;
    track.defer(
      tidyAll(ports).finally(() => {
        isTidying = false;
      }),
    );
  }, tidyMs);
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    process.once(signal, () => {
      clearInterval(tidying);
      closing.abort();
      void close(server, ports, track.settle);
    });
  }
}

/** Before the table is touched: a process that cannot serve leaves no trace in it. */
async function requireListenable(listen: Configuration["listen"]): Promise<void> {
  const probe = createServer();
  const failure = await new Promise<Error | null>((resolve) => {
    probe.once("error", resolve);
    probe.listen({ ...listen, exclusive: true }, () => probe.close(() => resolve(null)));
  });
  if (failure) throw new BadEnvironment(explainListening(listen, failure));
}

function explainListening({ host, port }: Configuration["listen"], error: Error): string {
  const wayOut =
    (error as NodeJS.ErrnoException).code === "EADDRINUSE"
      ? "choose a free port, or 0 for any"
      : "name an address of this machine, such as 127.0.0.1, and a port that this user may have";
  return `DROVER_LISTEN: cannot listen on ${host}:${port} (${error.message}); ${wayOut}.`;
}

/** The doorbell goes first: hosts that wait at it are open requests. */
async function close(server: ServerType, ports: Ports, settle: () => Promise<void>): Promise<void> {
  setTimeout(() => process.exit(1), closingMs).unref();
  await ports.doorbell.close();
  await new Promise<void>((resolve) => {
    // A kept connection becomes idle only when its last request is answered, which may be after this.
    const sweeping = setInterval(() => {
      if ("closeIdleConnections" in server) server.closeIdleConnections();
    }, 20);
    server.close(() => {
      clearInterval(sweeping);
      resolve();
    });
  });
  await settle();
  await ports.table.close();
  process.exit(0);
}

main().catch((error: unknown) => {
  const line = error instanceof BadEnvironment ? error.message : `The control plane could not start: ${textOf(error)}`;
  process.stderr.write(`${line.replaceAll("\n", " ")}\n`);
  process.exit(error instanceof BadEnvironment ? 2 : 1);
});
