// What the Node runtime is told by its environment, all of it checked before anything is started. Node has choices of
// its own: where it listens, a table in a file, secrets in files.
import type { Settings } from "../ports/ports.ts";
import {
  BadEnvironment,
  type DynamoPlace,
  type Environment,
  need,
  readDynamoPlace,
  readRegion,
  readSettings,
  readSqsPlace,
  type SqsPlace,
} from "./environment.ts";

export type Configuration = {
  listen: { host: string; port: number };
  table: { kind: "sqlite"; path: string } | DynamoPlace | { kind: "memory" };
  doorbell: { kind: "long-poll" } | ({ kind: "sqs" } & SqsPlace);
  region: string | null;
  signingKeyFile: string;
  bootstrapKeyFile: string;
  settings: Settings;
};

/** The table alone, for a program that serves nothing. */
export function readTableConfiguration(environment: Environment): Pick<Configuration, "table" | "region"> {
  const table = readTable(environment);
  return { table, region: table.kind === "dynamodb" ? readRegion(environment) : null };
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
  const settings = readSettings(environment);
  return {
    listen: readListen(environment),
    table,
    doorbell,
    region: needsAws ? readRegion(environment) : null,
    signingKeyFile: need(
      environment,
      "DROVER_SIGNING_KEY_FILE",
      "a file with the Ed25519 signing key (PKCS #8, base64url)",
    ),
    bootstrapKeyFile: need(environment, "DROVER_BOOTSTRAP_KEY_FILE", "a file with the first API key"),
    settings,
  };
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
  const [, path] = /^sqlite:(.+)$/.exec(value) ?? [];
  if (path) return { kind: "sqlite", path };
  const place = readDynamoPlace(environment);
  if (place) return place;
  throw new BadEnvironment(
    `DROVER_TABLE is "${value}": it must be sqlite:<file>, dynamodb:<table name, 3 to 255 of A-Z a-z 0-9 _ . -> or memory.`,
  );
}

function readDoorbell(environment: Environment): Configuration["doorbell"] {
  const value = environment["DROVER_DOORBELL"] ?? "long-poll";
  if (value === "long-poll") return { kind: value };
  if (value === "sqs") return { kind: value, ...readSqsPlace(environment) };
  throw new BadEnvironment(`DROVER_DOORBELL is "${value}": it must be long-poll or sqs.`);
}
