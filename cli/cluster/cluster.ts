// A whole Drover on loopback: one control plane and one agent per host, each a process of its own, with nothing in
// common but a folder that plays the shared volume. For `drover up`, the demo, the bench and the end-to-end tests.
import { randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { isAbsolute, join } from "node:path";
import { type Reaper, startReaper } from "../../infra/reaper.ts";
import { makeKeyPair, toBase64Url } from "../../schemas/signing.ts";
import { type Api, createApi } from "../api.ts";
import { UsageError } from "../exit.ts";
import { type Child, type ChildProgram, logTail, programPath } from "./child.ts";
import { Children } from "./children.ts";
import type { DoorbellKind, RuntimeKind, TableKind } from "./kinds.ts";
import type { LocalAws } from "./local-aws.ts";
import { choosePeerPort } from "./peer-port.ts";

export type ClusterOptions = {
  /** 2 to 16 of them: host-a, host-b, … */
  hosts: number;
  table: TableKind;
  doorbell: DoorbellKind;
  /** "node" by default; the others need the table in DynamoDB and the doorbell over SQS, and this project's work tree. */
  runtime?: RuntimeKind;
  /** What guests may take of each host's memory. */
  guestMemoryMiB: number;
  /** How often hosts report when idle, so that guests' reports are fresh. */
  heartbeatMs?: number;
  /** How long a silent host still counts as alive. */
  leaseMs?: number;
  /** Where the control plane listens. */
  port?: number;
  /** Told of each step as it is done. */
  onStep?: (step: string) => void;
};

export type Cluster = {
  readonly name: string;
  readonly hosts: string[];
  readonly api: Api;
  readonly key: string;
  readonly keyFile: string;
  readonly folder: string;
  /** As they are now: `name` is a host's, or "control-plane". */
  process(name: string): Child;
  /** Rejects when one of its processes ends unasked; while it is kept up, when its control plane does again and again. */
  readonly broken: Promise<never>;
  /** From now on a process that ends unasked is started again, and `tell` is told. */
  keepUp(tell: (line: string) => void): void;
  /** The ends of all logs, for whoever has to explain a failure. */
  logTails(): Promise<string>;
  /** Takes everything down, guests too; nothing is left. */
  stop(): Promise<void>;
};

export const clusterName = "local";
export const controlPlaneName = "control-plane";
const readyWithinMs = 60_000;

/** Loopback addresses that play the migration network, one per host. */
export const migrationAddress = (index: number): string => `127.0.0.${11 + index}`;
export const hostName = (index: number): string => `host-${String.fromCharCode(97 + index)}`;

/** @throws when a part does not start; nothing is left then */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  if (!isAbsolute(tmpdir())) {
    throw new UsageError(`TMPDIR is "${tmpdir()}": set it to an absolute path, of a folder that takes files`);
  }
  const folder = makeFolder();
  const removeFolder = () => rmSync(folder, { recursive: true, force: true });
  process.once("exit", removeFolder); // This process may be told to end before the reaper is there to do it.
  const reaper = await startReaper(folder)
    .catch((error: unknown) => {
      removeFolder();
      throw error;
    })
    .finally(() => process.removeListener("exit", removeFolder));
  try {
    return await startIn(folder, reaper, options);
  } catch (error) {
    await reaper.reap();
    throw error;
  }
}

/** At once, so that there is no moment in which it is there and nobody sees to it. */
function makeFolder(): string {
  try {
    return mkdtempSync(join(tmpdir(), "drover-"));
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new UsageError(
      `TMPDIR is ${tmpdir()}, where no folder can be made (${code}); set it to one that takes files`,
    );
  }
}

async function startIn(folder: string, reaper: Reaper, options: ClusterOptions): Promise<Cluster> {
  const { runtime = "node", onStep: step = () => {} } = options;
  const logs = join(folder, "logs");
  const sharedVolume = join(folder, "shared-volume");
  for (const path of [logs, sharedVolume, join(folder, "control-plane")]) await mkdir(path, { mode: 0o700 });

  const key = `drover_${toBase64Url(randomBytes(32))}`;
  const keyFile = await writeSecret(join(folder, "api-key"), key);
  const signingKeyFile = await writeSecret(
    join(folder, "control-plane", "signing-key"),
    (await makeKeyPair()).privateKey,
  );

  const aws = await startAws(folder, options);
  if (aws.description) step(aws.description);

  const heartbeat = options.heartbeatMs === undefined ? {} : { DROVER_HEARTBEAT_MS: String(options.heartbeatMs) };
  const lease = options.leaseMs === undefined ? {} : { DROVER_LEASE_MS: String(options.leaseMs) };
  const children = new Children(controlPlaneName);
  // Their ports and queues are theirs alone: such a cluster is over with them.
  for (const end of aws.ends) void end.then((how) => children.break(how));
  const program: ChildProgram = {
    name: controlPlaneName,
    program: controlPlaneProgram(runtime),
    logFile: join(logs, "control-plane.log"),
    readyWithinMs,
    environment: {
      DROVER_LISTEN: `127.0.0.1:${options.port ?? 0}`,
      DROVER_TABLE:
        options.table === "sqlite"
          ? `sqlite:${join(folder, "control-plane", "table.sqlite")}`
          : `dynamodb:${aws.tableName}`,
      DROVER_TABLE_ID: `local-${randomBytes(4).toString("hex")}`,
      DROVER_DOORBELL: options.doorbell === "embedded" ? "long-poll" : "sqs",
      DROVER_SIGNING_KEY_FILE: signingKeyFile,
      DROVER_BOOTSTRAP_KEY_FILE: keyFile,
      ...(runtime === "node" ? {} : { DROVER_RUNTIME: runtime, TMPDIR: join(folder, "control-plane") }),
      ...heartbeat,
      ...lease,
      ...aws.environment,
    },
  };
  const controlPlane = await children.start(program, ({ ready }) => {
    const { host } = new URL(String(ready["listening"])); // Its agents know it under the port that it got.
    return { ...program, environment: { ...program.environment, DROVER_LISTEN: host } };
  });
  const url = String(controlPlane.ready["listening"]);
  step(`control plane at ${url} (${runtime})`);
  const api = createApi({ url, key });
  await api.createCluster(clusterName);

  const hosts = Array.from({ length: options.hosts }, (_, index) => hostName(index));
  const peerPort = await choosePeerPort(hosts.map((_, index) => migrationAddress(index)));
  const startAgent = async (host: string, index: number): Promise<void> => {
    const own = join(folder, host);
    await mkdir(own, { mode: 0o700 });
    const { token } = await api.createJoinToken(clusterName, host);
    await children.start({
      name: host,
      program: programPath("agents/main"),
      logFile: join(logs, `${host}.log`),
      readyWithinMs,
      environment: {
        DROVER_CONTROL_PLANE: url,
        DROVER_CLUSTER: clusterName,
        DROVER_HOST: host,
        DROVER_DATA: join(own, "data"),
        DROVER_RUN: join(own, "run"),
        DROVER_SHARED_VOLUME: sharedVolume,
        DROVER_MIGRATION_ADDRESS: migrationAddress(index),
        DROVER_PEER_PORT: String(peerPort),
        DROVER_JOIN_TOKEN_FILE: await writeSecret(join(own, "join-token"), token),
        DROVER_HYPERVISOR: "embedded",
        DROVER_GUEST_MEMORY_MIB: String(options.guestMemoryMiB),
        ...aws.environment,
      },
    });
    step(`${host} at ${migrationAddress(index)}`);
  };
  await startAll(hosts, startAgent);

  return {
    name: clusterName,
    hosts,
    api,
    key,
    keyFile,
    folder,
    process: (name) => children.get(name),
    broken: children.broken,
    keepUp: (tell) => children.keepUp(tell),
    logTails: async () => {
      const files = (await readdir(logs)).sort();
      const lines = Math.max(4, Math.floor(60 / files.length));
      const tail = (file: string) => logTail({ name: file.replace(/\.log$/, ""), logFile: join(logs, file) }, lines);
      return files.map(tail).join("\n");
    },
    stop: async () => {
      await children.stop(hosts);
      await children.stop([controlPlaneName]);
      await aws.stop();
      await reaper.reap();
    },
  };
}

/** A Lambda function and a Worker are built, and stand behind a server that plays their platform. */
function controlPlaneProgram(runtime: RuntimeKind): string {
  if (runtime === "node") return programPath("functions/runtime/node");
  const program = programPath("infra/local/front-main");
  if (existsSync(program)) return program;
  throw new UsageError(`the ${runtime} runtime is built from Drover's sources, which this package has not; use node`);
}

/** All of them, a few at a time: each needs a processor to start. The first that fails is thrown, when none is under
 *  way any more. */
async function startAll(hosts: string[], start: (host: string, index: number) => Promise<void>): Promise<void> {
  const waiting = [...hosts.entries()];
  const failures: unknown[] = [];
  const work = async () => {
    for (let next = waiting.shift(); next && failures.length === 0; next = waiting.shift()) {
      const [index, host] = next;
      await start(host, index).catch((error) => failures.push(error));
    }
  };
  await Promise.all(Array.from({ length: 4 }, work));
  if (failures.length > 0) throw failures[0];
}

/** The AWS SDK takes long to load, so that it is loaded only where it is used. */
async function startAws(folder: string, { table, doorbell }: ClusterOptions): Promise<LocalAws> {
  const wanted = { folder, table: table === "dynamodb", queue: doorbell === "sqs" };
  if (!wanted.table && !wanted.queue)
    return { tableName: "", environment: {}, description: null, ends: [], stop: async () => {} };
  const { startLocalAws } = await import("./local-aws.ts");
  return startLocalAws(wanted);
}

async function writeSecret(path: string, secret: string): Promise<string> {
  await writeFile(path, `${secret}\n`, { mode: 0o600, flag: "wx" });
  return path;
}
