// An SQS-compatible server on loopback, to run the SQS doorbell for real in tests and in the demo. It keeps its queues in
// memory and checks no signatures: never for production.
import { spawn } from "node:child_process";
import { extname, join } from "node:path";
import { createInterface } from "node:readline";
import { buildApp } from "fauxqs";

export type LocalSqs = { endpoint: string; stop(): Promise<void> };

/** In this process. @param port a free one without it */
export async function startLocalSqs(options: { port?: number } = {}): Promise<LocalSqs> {
  const app = buildApp({ logger: false });
  // Given by address: by default it would listen to the whole network, and it lets everybody in.
  const endpoint = await app.listen({ host: "127.0.0.1", port: options.port ?? 0 });
  return {
    endpoint,
    stop: async () => {
      await app.close();
    },
  };
}

/** In a process of its own, which ends with this one, however this one ends. */
export async function startLocalSqsProcess(
  options: { port?: number } = {},
): Promise<LocalSqs & { pid: number; ended: Promise<void> }> {
  // As source or as packaged JavaScript.
  const script = join(import.meta.dirname, `sqs-main${extname(import.meta.filename)}`);
  const child = spawn(process.execPath, [script, "--until-stdin-ends"], {
    stdio: ["pipe", "pipe", "inherit"],
    env: { ...process.env, DROVER_LISTEN: `127.0.0.1:${options.port ?? 0}` },
  });
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve()));
  const stop = async () => {
    child.kill("SIGTERM");
    await ended;
  };
  for await (const line of createInterface({ input: child.stdout })) {
    const message: unknown = JSON.parse(line);
    if (child.pid === undefined || typeof message !== "object" || message === null) break;
    const endpoint: unknown = Reflect.get(message, "listening");
    if (typeof endpoint === "string") return { endpoint, pid: child.pid, ended, stop };
  }
  await stop();
  throw new Error("the SQS-compatible server did not start");
}
