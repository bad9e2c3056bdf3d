// What the runtimes without a disk (Lambda, Workers) are told: their table is DynamoDB's, their doorbell SQS, and their
// secrets come as values, since there are no files.
import type { Settings } from "../ports/ports.ts";
import {
  BadEnvironment,
  checkApiKey,
  type DynamoPlace,
  type Environment,
  need,
  readDynamoPlace,
  readSettings,
  readSqsPlace,
  readUrl,
  type SqsPlace,
} from "./environment.ts";

export type Credentials = { accessKeyId: string; secretAccessKey: string; sessionToken?: string };

export type CloudConfiguration = {
  table: DynamoPlace;
  sqs: SqsPlace;
  secrets: CloudSecrets | SecretsPlace;
  settings: Settings;
};

export type CloudSecrets = { kind: "given"; signingKey: string; bootstrapKey: string };
/** Below `path` in AWS Systems Manager. */
export type SecretsPlace = { kind: "ssm"; path: string; endpoint: string | null };

/** @throws BadEnvironment */
export function readCloudConfiguration(environment: Environment): CloudConfiguration {
  const value = need(environment, "DROVER_TABLE", "dynamodb:<table name>");
  const table = readDynamoPlace(environment);
  if (!table) {
    throw new BadEnvironment(
      `DROVER_TABLE is "${value}": here it must be dynamodb:<table name, 3 to 255 of A-Z a-z 0-9 _ . ->.`,
    );
  }
  const doorbell = environment["DROVER_DOORBELL"] ?? "sqs";
  if (doorbell !== "sqs") {
    throw new BadEnvironment(`DROVER_DOORBELL is "${doorbell}": here it must be sqs, or not be set.`);
  }
  return {
    table,
    sqs: readSqsPlace(environment),
    secrets: readSecrets(environment),
    settings: readSettings(environment),
  };
}

function readSecrets(environment: Environment): CloudSecrets | SecretsPlace {
  const place = environment["DROVER_SECRETS"] ?? "";
  if (place === "") {
    const keyName = "DROVER_BOOTSTRAP_KEY";
    return {
      kind: "given",
      signingKey: need(environment, "DROVER_SIGNING_KEY", "the Ed25519 signing key (PKCS #8, base64url)").trim(),
      bootstrapKey: checkApiKey(keyName, need(environment, keyName, "the first API key").trim()),
    };
  }
  const [, path] = /^ssm:((?:\/[A-Za-z0-9_.-]{1,100}){1,13})$/.exec(place) ?? [];
  if (path) return { kind: "ssm", path, endpoint: readUrl(environment, "DROVER_SSM_ENDPOINT") };
  throw new BadEnvironment(
    `DROVER_SECRETS is "${place}": it must be ssm:</path of parameters in AWS Systems Manager>, or not be set.`,
  );
}

/** For a runtime where the SDK finds none by itself. @throws BadEnvironment */
export function readCredentials(environment: Environment): Credentials {
  const sessionToken = environment["AWS_SESSION_TOKEN"];
  return {
    accessKeyId: need(environment, "AWS_ACCESS_KEY_ID", "the id of the AWS access key"),
    secretAccessKey: need(environment, "AWS_SECRET_ACCESS_KEY", "the secret of the AWS access key"),
    ...(sessionToken ? { sessionToken } : {}),
  };
}
