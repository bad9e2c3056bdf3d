// What the Node runtime is told by its environment, each value checked; a bad one is named with its bounds and the way
// out, before anything is started.
import { defaultSettings, type Settings } from "../ports/ports.ts";

export type Environment = { [name: string]: string | undefined };

export type Configuration = {
  listen: { host: string; port: number };
  table:
    | { kind: "sqlite"; path: string }
    | { kind: "dynamodb"; name: string; endpoint: string | null }
    | { kind: "memory" };
  doorbell: { kind: "long-poll" } | { kind: "sqs"; endpoint: string | null };
  region: string | null;
  signingKeyFile: string;
  bootstrapKeyFile: string;
  settings: Settings;
};

/** One line for the operator: which variable, what it may be, what to do. */
export class BadEnvironment extends Error {
  override name = "BadEnvironment";
}

/** The table alone, for a program that serves nothing. */
export function readTableConfiguration(environment: Environment): Pick<Configuration, "table" | "region"> {
  const table = readTable(environment);
  const needsAws = table.kind === "dynamodb";
  return { table, region: needsAws ? need(environment, "AWS_REGION", "an AWS region, such as eu-west-1") : null };
}

export function readConfiguration(environment: Environment): Configuration {
  const table = readTable(environment);
  const doorbell = readDoorbell(environment);
  const needsAws = table.kind === "dynamodb" || doorbell.kind === "sqs";
  const isLocal = (part: object) => "endpoint" in part && part.endpoint !== null;
  // At AWS itself the SDK finds credentials in many ways: a role, a profile, single sign-on. A local server has none of them.
  if (isLocal(table) || isLocal(doorbell)) {
    const what = "what the server at the local endpoint takes, such as local";
    for (const name of ["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]) need(environment, name, what);
  }
  const heartbeatMs = readNumber(environment, "DROVER_HEARTBEAT_MS", 50, 60_000, defaultSettings.heartbeatMs);
  const leaseMs = readNumber(environment, "DROVER_LEASE_MS", 200, 600_000, defaultSettings.leaseMs);
  if (leaseMs < 2 * heartbeatMs) {
    throw new BadEnvironment(
      `DROVER_LEASE_MS is ${leaseMs} and DROVER_HEARTBEAT_MS ${heartbeatMs}: a lease must outlast two heartbeats; set it to ${2 * heartbeatMs} or more.`,
    );
  }
  const busyHeartbeatMs = readNumber(
    environment,
    "DROVER_BUSY_HEARTBEAT_MS",
    50,
    60_000,
    defaultSettings.busyHeartbeatMs,
  );
  if (leaseMs < 2 * busyHeartbeatMs) {
    throw new BadEnvironment(
      `DROVER_BUSY_HEARTBEAT_MS is ${busyHeartbeatMs} and DROVER_LEASE_MS ${leaseMs}: a lease must outlast two heartbeats; set it to ${Math.floor(leaseMs / 2)} or less.`,
    );
  }
  return {
    listen: readListen(environment),
    table,
    doorbell,
    region: needsAws ? need(environment, "AWS_REGION", "an AWS region, such as eu-west-1") : null,
    signingKeyFile: need(
      environment,
      "DROVER_SIGNING_KEY_FILE",
      "a file with the Ed25519 signing key (PKCS #8, base64url)",
    ),
    bootstrapKeyFile: need(environment, "DROVER_BOOTSTRAP_KEY_FILE", "a file with the first API key"),
    settings: {
      ...defaultSettings,
      tableId: readName(environment, "DROVER_TABLE_ID"),
      restoreEpoch: readNumber(environment, "DROVER_RESTORE_EPOCH", 0, 2 ** 20, defaultSettings.restoreEpoch),
      heartbeatMs,
      busyHeartbeatMs,
      leaseMs,
    },
  };
}

function need(environment: Environment, name: string, what: string): string {
  const value = environment[name];
  if (value === undefined || value === "") throw new BadEnvironment(`${name} is missing: set it to ${what}.`);
  return value;
}

function readListen(environment: Environment): Configuration["listen"] {
  const value = environment["DROVER_LISTEN"] ?? "127.0.0.1:0";
  const [, host, port] = /^(\d+\.\d+\.\d+\.\d+|localhost|\[[0-9a-f:]+\]):(\d{1,5})$/i.exec(value) ?? [];
  if (!host || !port || Number(port) > 65_535) {
    throw new BadEnvironment(
      `DROVER_LISTEN is "${value}": it must be <address>:<port> with a port of 0 to 65535 (0: any that is free), such as 127.0.0.1:7400.`,
    );
  }
  const isLoopback = /^(127\.|localhost$|\[::1\]$)/i.test(host);
  if (!isLoopback && environment["DROVER_LISTEN_ANYWHERE"] !== "behind-tls-proxy") {
    throw new BadEnvironment(
      `DROVER_LISTEN is "${value}", which is not loopback, and this process speaks plain HTTP: put a proxy that speaks TLS before it and set DROVER_LISTEN_ANYWHERE=behind-tls-proxy, or listen on 127.0.0.1.`,
    );
  }
  return { host: host.replace(/^\[|\]$/g, ""), port: Number(port) };
}

function readTable(environment: Environment): Configuration["table"] {
  const value = need(environment, "DROVER_TABLE", "sqlite:<file>, dynamodb:<table name> or memory");
  if (value === "memory") return { kind: "memory" };
  const [, kind, rest] = /^(sqlite|dynamodb):(.+)$/.exec(value) ?? [];
  if (kind === "sqlite" && rest) return { kind, path: rest };
  if (kind === "dynamodb" && rest && /^[A-Za-z0-9_.-]{3,255}$/.test(rest)) {
    return { kind, name: rest, endpoint: readUrl(environment, "DROVER_DYNAMODB_ENDPOINT") };
  }
  throw new BadEnvironment(
    `DROVER_TABLE is "${value}": it must be sqlite:<file>, dynamodb:<table name, 3 to 255 of A-Z a-z 0-9 _ . -> or memory.`,
  );
}

function readDoorbell(environment: Environment): Configuration["doorbell"] {
  const value = environment["DROVER_DOORBELL"] ?? "long-poll";
  if (value === "long-poll") return { kind: value };
  if (value === "sqs") return { kind: value, endpoint: readUrl(environment, "DROVER_SQS_ENDPOINT") };
  throw new BadEnvironment(`DROVER_DOORBELL is "${value}": it must be long-poll or sqs.`);
}

function readUrl(environment: Environment, name: string): string | null {
  const value = environment[name];
  if (value === undefined || value === "") return null;
  if (!URL.canParse(value) || !/^https?:$/.test(new URL(value).protocol)) {
    throw new BadEnvironment(`${name} is "${value}": it must be an http or https URL; leave it out for AWS itself.`);
  }
  return value;
}

function readName(environment: Environment, name: string): string {
  const value = need(
    environment,
    name,
    "a name for this table, 1 to 64 of a-z 0-9 and -; a restored table gets another",
  );
  if (/^[a-z0-9-]{1,64}$/.test(value)) return value;
  throw new BadEnvironment(`${name} is "${value}": it must be 1 to 64 of a-z, 0-9 and -.`);
}

function readNumber(environment: Environment, name: string, min: number, max: number, fallback: number): number {
  const value = environment[name];
  if (value === undefined || value === "") return fallback;
  const number = Number(value);
  if (/^\d+$/.test(value) && number >= min && number <= max) return number;
  throw new BadEnvironment(
    `${name} is "${value}": it must be a whole number from ${min} to ${max}; leave it out for ${fallback}.`,
  );
}
