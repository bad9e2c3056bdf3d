// What every runtime is told alike, whether by environment variables or by a Worker's bindings, each value checked; a bad
// one is named with its bounds and the way out.
import { defaultSettings, type Settings } from "../ports/ports.ts";

export type Environment = { [name: string]: string | undefined };

/** One line for the operator: which variable, what it may be, what to do. */
export class BadEnvironment extends Error {
  override name = "BadEnvironment";
}

export function need(environment: Environment, name: string, what: string): string {
  const value = environment[name];
  if (value === undefined || value === "") throw new BadEnvironment(`${name} is missing: set it to ${what}.`);
  return value;
}

export function readRegion(environment: Environment): string {
  return need(environment, "AWS_REGION", "an AWS region, such as eu-west-1");
}

export type DynamoPlace = { kind: "dynamodb"; name: string; endpoint: string | null };

/** Null where `DROVER_TABLE` names no table of DynamoDB. */
export function readDynamoPlace(environment: Environment): DynamoPlace | null {
  const [, name] = /^dynamodb:([A-Za-z0-9_.-]{3,255})$/.exec(environment["DROVER_TABLE"] ?? "") ?? [];
  return name ? { kind: "dynamodb", name, endpoint: readUrl(environment, "DROVER_DYNAMODB_ENDPOINT") } : null;
}

export type SqsPlace = {
  region: string;
  /** Null at AWS itself. */
  endpoint: string | null;
  /** The queue for rings that nobody deletes, by its ARN. */
  deadLetters: string | null;
};

export function readSqsPlace(environment: Environment): SqsPlace {
  const region = readRegion(environment);
  const endpoint = readUrl(environment, "DROVER_SQS_ENDPOINT");
  return { region, endpoint, deadLetters: readDeadLetters(environment, region) };
}

function readDeadLetters(environment: Environment, region: string): string | null {
  const value = environment["DROVER_DEAD_LETTERS"] ?? "";
  if (value === "") return null;
  const [, itsRegion] = /^arn:aws[a-z-]{0,20}:sqs:([a-z0-9-]{1,30}):\d{12}:[A-Za-z0-9_-]{1,80}$/.exec(value) ?? [];
  if (itsRegion === region) return value;
  throw new BadEnvironment(
    `DROVER_DEAD_LETTERS is "${value}": it must be a standard queue's ARN in ${region}, arn:aws:sqs:${region}:<account>:<name>; leave it out for none.`,
  );
}

export function readSettings(environment: Environment): Settings {
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
    ...defaultSettings,
    tableId: readName(environment, "DROVER_TABLE_ID"),
    restoreEpoch: readNumber(environment, "DROVER_RESTORE_EPOCH", 0, 2 ** 20, defaultSettings.restoreEpoch),
    heartbeatMs,
    busyHeartbeatMs,
    leaseMs,
  };
}

/** @param name the variable that it came by */
export function checkApiKey(name: string, apiKey: string): string {
  if (/^[\x21-\x7e]{16,512}$/.test(apiKey)) return apiKey;
  throw new BadEnvironment(`${name} must hold one API key: 16 to 512 printable ASCII characters.`);
}

export function badSigningKey(name: string): BadEnvironment {
  return new BadEnvironment(`${name} must hold one Ed25519 private key: PKCS #8 in base64url.`);
}

export function readUrl(environment: Environment, name: string): string | null {
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
