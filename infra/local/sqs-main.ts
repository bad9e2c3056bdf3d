// The SQS-compatible server as a program: prints {"listening":"http://127.0.0.1:PORT"} when ready, ends on SIGTERM and
// SIGINT, and, where asked to, when its standard input ends.
import { startLocalSqs } from "./sqs.ts";

const [host, port] = (process.env["DROVER_LISTEN"] ?? "127.0.0.1:0").split(":");
if (host !== "127.0.0.1" || !/^\d{1,5}$/.test(port ?? "")) {
  process.stderr.write("DROVER_LISTEN: 127.0.0.1:PORT, where port 0 takes a free one\n");
  process.exit(2);
}
const server = await startLocalSqs({ port: Number(port) });

async function stop(): Promise<void> {
  await server.stop();
  process.exit(0);
}
process.once("SIGTERM", stop);
process.once("SIGINT", stop);
if (process.argv.includes("--until-stdin-ends")) process.stdin.resume().once("end", stop);

process.stdout.write(`${JSON.stringify({ listening: server.endpoint })}\n`);
