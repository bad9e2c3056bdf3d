// A TCP proxy on loopback that breaks HTTP exchanges on order: the request reaches the server or does not, the answer
// never reaches the client. For tests of what a client makes of that.
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from "node:http";

export type Exchange =
  | "pass"
  /** The server never sees it; the connection breaks. */
  | "drop-request"
  /** The server carries it out; the connection breaks before its answer. */
  | "drop-answer"
  /** The server carries it out; half of its answer comes, then the connection breaks. */
  | "cut-answer"
  /** The server carries it out; its answer never comes, and the connection stays. */
  | "withhold-answer"
  /** The server carries it out, and a 500 comes in its place. */
  | "fault-answer"
  /** An answer of our own; the server never sees it. */
  | { status: number; body: unknown };

export type AnswerDropper = {
  endpoint: string;
  /** The operations asked for, in order: "PutItem", … */
  operations: string[];
  /** After the server has answered and before the client hears of it. */
  onCarriedOut: (operation: string) => Promise<void>;
  close(): Promise<void>;
};

/** @param decide asked for every request, by its operation and how many of those came before */
export async function startAnswerDropper(
  serverEndpoint: string,
  decide: (operation: string, before: number) => Exchange,
): Promise<AnswerDropper> {
  const server = createServer(
    (incoming, outgoing) => void exchange(incoming, outgoing).catch(() => outgoing.destroy()),
  );
  const dropper: AnswerDropper = { endpoint: "", operations: [], onCarriedOut: async () => {}, close };

  async function exchange(incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> {
    const operation = String(incoming.headers["x-amz-target"]).split(".")[1] ?? "";
    const before = dropper.operations.filter((name) => name === operation).length;
    dropper.operations.push(operation);
    const body = await bodyOf(incoming);
    const plan = decide(operation, before);
    if (plan === "drop-request") return void outgoing.destroy();
    if (typeof plan === "object") {
      outgoing.writeHead(plan.status, { "content-type": "application/x-amz-json-1.0" }).end(JSON.stringify(plan.body));
      return;
    }
    const answer = await forward(incoming, body);
    await dropper.onCarriedOut(operation);
    if (plan === "drop-answer") return void outgoing.destroy();
    if (plan === "withhold-answer") return;
    if (plan === "fault-answer") return void outgoing.writeHead(500).end("{}");
    outgoing.writeHead(answer.status, { ...answer.headers, "content-length": answer.body.length });
    if (plan === "pass") return void outgoing.end(answer.body);
    outgoing.write(answer.body.subarray(0, Math.floor(answer.body.length / 2)), () => outgoing.destroy());
  }

  async function forward(incoming: IncomingMessage, body: Buffer) {
    const { method, headers } = incoming;
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const toServer = httpRequest(serverEndpoint, { method, path: incoming.url, headers }, resolve);
      toServer.once("error", reject).end(body);
    });
    const { "transfer-encoding": _chunked, ...rest } = response.headers;
    return { status: response.statusCode ?? 500, headers: rest, body: await bodyOf(response) };
  }

  async function close(): Promise<void> {
    const closed = new Promise((resolve) => server.close(resolve));
    server.closeAllConnections();
    await closed;
  }

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the proxy has no port");
  dropper.endpoint = `http://127.0.0.1:${address.port}`;
  return dropper;
}

async function bodyOf(stream: IncomingMessage): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts);
}
