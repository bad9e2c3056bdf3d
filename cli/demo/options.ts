// What the demo may be asked for.
import { readArguments, readChoice, readInteger } from "../arguments.ts";
import {
  type DoorbellKind,
  doorbellKinds,
  type RuntimeKind,
  runtimeKinds,
  type TableKind,
  tableKinds,
} from "../cluster/kinds.ts";
import { UsageError } from "../exit.ts";

export const demoHelp = `drover demo: a running guest moves between hosts, and you watch

  drover demo
  drover demo --hosts 16 --guests 8            eight migrations at once, there and back (with fewer processors
                                               than that, longer pauses are allowed)
  drover demo --memory 128 --dirty 40 --migrations 10
  drover demo --table dynamodb --doorbell sqs  the adapters for AWS, against local servers
  drover demo --runtime lambda                 the control plane as it runs on AWS, or (worker) on Cloudflare, with
                                               the adapters for AWS
  drover demo --keep                           leave the cluster up until Ctrl-C

  --hosts N         hosts, 2 to 16 (2)
  --guests N        guests, 1 to 32 (1)
  --memory MiB      memory of each guest, 16 to 1024 (64)
  --dirty MiB/s     how fast each guest writes to its memory, 0 to 400 (10)
  --migrations N    moves in all, 1 to 1000 (each guest there and back)
  --table KIND      sqlite or dynamodb (sqlite; dynamodb with --runtime lambda or worker)
  --doorbell KIND   embedded or sqs (embedded; sqs with --runtime lambda or worker)
  --runtime KIND    node, lambda or worker: what the control plane is (node)
  --keep            leave everything up afterwards, until Ctrl-C; tells the API address and a key
  --json            one JSON document on stdout, progress on stderr`;

export type DemoOptions = {
  hosts: number;
  guests: number;
  memoryMiB: number;
  dirtyMiBPerSecond: number;
  migrations: number;
  table: TableKind;
  doorbell: DoorbellKind;
  runtime: RuntimeKind;
  keep: boolean;
  json: boolean;
};

/** @throws UsageError */
export function readDemoOptions(args: string[]): DemoOptions {
  const text = { type: "string" } as const;
  const flag = { type: "boolean", default: false } as const;
  const { values } = readArguments(args, {
    hosts: text,
    guests: text,
    memory: text,
    dirty: text,
    migrations: text,
    table: text,
    doorbell: text,
    runtime: text,
    keep: flag,
    json: flag,
  });
  const guests = readInteger("guests", values.guests, { min: 1, max: 32, usual: 1 });
  const runtime = readChoice("runtime", values.runtime, runtimeKinds, "node");
  const isCloud = runtime !== "node";
  const table = readChoice("table", values.table, tableKinds, isCloud ? "dynamodb" : "sqlite");
  const doorbell = readChoice("doorbell", values.doorbell, doorbellKinds, isCloud ? "sqs" : "embedded");
  if (isCloud && (table !== "dynamodb" || doorbell !== "sqs")) {
    throw new UsageError(`--runtime ${runtime} goes with --table dynamodb and --doorbell sqs alone; leave them out`);
  }
  return {
    hosts: readInteger("hosts", values.hosts, { min: 2, max: 16, usual: 2 }),
    guests,
    memoryMiB: readInteger("memory", values.memory, { min: 16, max: 1024, usual: 64 }),
    dirtyMiBPerSecond: readInteger("dirty", values.dirty, { min: 0, max: 400, usual: 10 }),
    migrations: readInteger("migrations", values.migrations, { min: 1, max: 1000, usual: 2 * guests }),
    table,
    doorbell,
    runtime,
    keep: values.keep === true,
    json: values.json === true,
  };
}
