// The control plane without a machine of its own: DynamoDB and SQS, opened when the first request comes. Lambda and
// Workers differ in where their configuration comes from and in what may go on after an answer, and in nothing else.
import { problems } from "../../schemas/problems.ts";
import { connectDynamo, createDynamoTable } from "../adapters/dynamodb-table.ts";
import { readParameters } from "../adapters/ssm-secrets.ts";
import { type App, createApp } from "../http/app.ts";
import { installBootstrapKey } from "../operations/api-keys.ts";
import { explainNaming, nameTable } from "../operations/name-table.ts";
import { tableProblem } from "../operations/retry.ts";
import { tidyAll } from "../operations/tidy.ts";
import type { Ports } from "../ports/ports.ts";
import { TableThrottled } from "../ports/table.ts";
import type { CloudConfiguration, Credentials } from "./cloud-environment.ts";
import { BadEnvironment, badSigningKey, checkApiKey } from "./environment.ts";
import { logLine, textOf } from "./log.ts";
import { openSqsDoorbell } from "./open-sqs-doorbell.ts";
import { systemPorts } from "./system-ports.ts";

export type Cloud = {
  fetch(request: Request): Promise<Response>;
  /** The last net, for a timer. @throws what kept it from doing all */
  tidy(): Promise<void>;
};

export type CloudOptions = {
  /** Where the SDK finds none by itself. */
  credentials?: Credentials;
  /** Where work may go on after the answer. */
  defer?: (work: Promise<void>) => void;
};

const secretsWithinMs = 5000;

const report = (event: string, error: unknown): void => console.error(logLine(event, { error: textOf(error) }));

/** Its clients serve every request that this process or isolate will see. */
export function createCloud(configuration: CloudConfiguration, options: CloudOptions = {}): Cloud {
  const { table: place, sqs } = configuration;
  const { region } = sqs;
  const credentials = options.credentials ? { credentials: options.credentials } : {};
  const at = place.endpoint === null ? { region } : { region, endpoint: place.endpoint };
  const dynamo = connectDynamo({ ...at, ...credentials });
  const table = createDynamoTable({ client: dynamo, tableName: place.name });
  const doorbell = openSqsDoorbell(sqs, {
    ...credentials,
    onFailure: (host, error) => report(`a ring of ${host.clusterId}/${host.hostId} failed`, error),
  });
  const { defer } = options;
  const deferred: Pick<Ports, "defer"> = defer
    ? { defer: (work) => defer(work.catch((error: unknown) => report("work after an answer failed", error))) }
    : {};

  async function readSecrets(): Promise<{ signingKey: string; bootstrapKey: string; nameOfSigningKey: string }> {
    const { secrets } = configuration;
    if (secrets.kind === "given") return { ...secrets, nameOfSigningKey: "DROVER_SIGNING_KEY" };
    const sender = { credentials: dynamo.config.credentials, nowMs: Date.now, timeoutMs: secretsWithinMs };
    const found = await readParameters({ ...secrets, region, ...sender }, ["signing-key", "bootstrap-key"]).catch(
      (error: unknown) => {
        throw new BadEnvironment(`DROVER_SECRETS names ${secrets.path}, which cannot be read: ${textOf(error)}.`);
      },
    );
    const bootstrapKey = checkApiKey(`parameter ${secrets.path}/bootstrap-key`, found["bootstrap-key"]);
    return {
      signingKey: found["signing-key"],
      bootstrapKey,
      nameOfSigningKey: `parameter ${secrets.path}/signing-key`,
    };
  }

  let opened: { ports: Ports; app: App } | null = null;

  /** Each request that comes before it is open opens it for itself: on Workers a promise dies with the request that made
   *  it, and whoever waited for another's would wait for good. */
  async function open(): Promise<{ ports: Ports; app: App }> {
    if (opened) return opened;
    const { settings } = configuration;
    const { signingKey, bootstrapKey, nameOfSigningKey } = await readSecrets();
    const system = await systemPorts({ table, doorbell, signingKey, settings }).catch(() => {
      throw badSigningKey(nameOfSigningKey);
    });
    const onTableFault = (step: string, error: unknown) => report(`table-fault at ${step}`, error);
    const ports: Ports = { ...system, ...deferred, onTableFault };
    const naming = await nameTable(ports);
    if (naming.kind === "other") throw new BadEnvironment(explainNaming(naming, settings));
    await installBootstrapKey(ports, bootstrapKey);
    opened ??= { ports, app: createApp(ports) };
    return opened;
  }

  return {
    fetch: async (request) => (await open()).app.fetch(request),
    tidy: async () => tidyAll((await open()).ports),
  };
}

/** A deployment that cannot be opened says so to its log, with the variable's name, and to callers that it is at fault. */
export async function serve(cloud: () => Cloud, request: Request): Promise<Response> {
  try {
    return await cloud().fetch(request);
  } catch (error) {
    report("the control plane cannot be opened", error);
    const detail = "This deployment of Drover cannot be opened; its log tells why. Nothing was done.";
    const { code } = error instanceof TableThrottled ? tableProblem(error) : { code: "internal-error" as const };
    const { status, retry, title } = problems[code];
    const problem = { type: `urn:drover:problem:${code}`, title, status, code, detail, retry };
    return new Response(JSON.stringify(problem), { status, headers: { "content-type": "application/problem+json" } });
  }
}
