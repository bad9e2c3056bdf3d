// A DynamoDB-compatible server on loopback, to run the DynamoDB adapter for real in tests and in the demo. It checks no
// signatures and calls itself a development tool: never for production.
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import {
  CreateTableCommand,
  DescribeTableCommand,
  type DynamoDBClient,
  ResourceInUseException,
} from "@aws-sdk/client-dynamodb";
import { tableDefinition } from "../../functions/adapters/dynamodb-table.ts";
import { findFreePort } from "./free-port.ts";

const startAttempts = 5;
const readyWithinMs = 15_000;

export type LocalDynamo = {
  endpoint: string;
  port: number;
  pid: number;
  /** Resolves when it has ended. */
  ended: Promise<void>;
  stop(): Promise<void>;
};

/** @param file where it keeps its tables; in memory without it
 *  @param port a free one without it
 *  @throws when this platform has no such server, naming it */
export async function startLocalDynamo(options: { file?: string; port?: number } = {}): Promise<LocalDynamo> {
  const refused = whyNoLocalDynamo();
  const binary = findBinary();
  if (refused !== null || binary === null) throw new Error(refused ?? "the DynamoDB-compatible server is gone");
  for (let attempt = 1; ; attempt++) {
    const port = options.port ?? (await findFreePort());
    const arguments_ = ["serve", "--host", "127.0.0.1", "--port", String(port)];
    if (options.file !== undefined) arguments_.push("--db-path", options.file);
    const child = spawn(binary, arguments_, { stdio: "ignore" });
    try {
      return await whenReady(child, port);
    } catch (error) {
      child.kill("SIGKILL");
      if (attempt === startAttempts || options.port !== undefined) throw error;
    }
  }
}

/** Makes the table, or finds it made, and waits until it can be used. */
export async function ensureDynamoTable(client: DynamoDBClient, tableName: string): Promise<void> {
  try {
    await client.send(new CreateTableCommand({ TableName: tableName, ...tableDefinition }));
  } catch (error) {
    if (!(error instanceof ResourceInUseException))
      throw new Error(`creating DynamoDB table ${tableName}`, { cause: error });
  }
  for (;;) {
    const { Table } = await client.send(new DescribeTableCommand({ TableName: tableName }));
    if (Table?.TableStatus === "ACTIVE") return;
    await pause(100);
  }
}

/** Why this machine has no such server; null where it has one. */
export function whyNoLocalDynamo(platform = `${process.platform}-${process.arch}`): string | null {
  if (platform !== "linux-x64") {
    return `no DynamoDB-compatible server for ${platform}: @dynoxide/linux-x64 is the only one; use a SQLite table here`;
  }
  return findBinary() === null ? "@dynoxide/linux-x64 is not installed: npm left the optional dependencies out" : null;
}

function findBinary(): string | null {
  try {
    const binary = join(
      dirname(createRequire(import.meta.url).resolve("@dynoxide/linux-x64/package.json")),
      "dynoxide",
    );
    return existsSync(binary) ? binary : null;
  } catch {
    return null;
  }
}

async function whenReady(child: ChildProcess, port: number): Promise<LocalDynamo> {
  const ended = new Promise<void>((resolve) => {
    child.once("exit", () => resolve());
    child.once("error", () => resolve());
  });
  let hasEnded = false;
  void ended.then(() => {
    hasEnded = true;
  });
  // A program that ends without stopping its server must not leave it behind.
  const killChild = () => child.kill("SIGKILL");
  process.once("exit", killChild);
  void ended.then(() => process.removeListener("exit", killChild));

  const deadline = performance.now() + readyWithinMs;
  while (!(await accepts(port))) {
    if (hasEnded) throw new Error(`the DynamoDB-compatible server did not start on port ${port}`);
    if (performance.now() > deadline)
      throw new Error(`the DynamoDB-compatible server did not listen on port ${port} in time`);
    await pause(10);
  }
  // Whoever else took the port would answer too.
  await pause(20);
  if (hasEnded || child.pid === undefined) throw new Error(`port ${port} belongs to another program`);

  return {
    endpoint: `http://127.0.0.1:${port}`,
    port,
    pid: child.pid,
    ended,
    async stop(): Promise<void> {
      child.kill("SIGTERM");
      const timer = setTimeout(killChild, 5000);
      await ended;
      clearTimeout(timer);
    },
  };
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: "127.0.0.1", port });
    socket.once("connect", () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}
