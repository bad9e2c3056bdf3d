// A supervisor's door: the agent that greeted last is the agent; whatever it says is a sign of its life.
import { createServer, type Server, type Socket } from "node:net";
import { lineSplitter } from "../adapters/line-socket.ts";
import { listenPrivately } from "../adapters/private-socket.ts";
import { messageOf } from "../message-of.ts";
import { Call, type Greeting, incomingFrom, outgoingFrom, type Said, socketName } from "./protocol.ts";
import type { Supervisor } from "./supervisor.ts";

const lineLimitBytes = 64 * 1024;

/** Listens in the current folder.
 *  @param onDestroyed called when the copy is gone and its last answer was given */
export async function serve(supervisor: Supervisor, onDestroyed: (answered: Promise<void>) => void): Promise<Server> {
  let agent: Socket | null = null;
  const server = createServer((socket) => {
    agent?.destroy(); // An agent that restarted; the one before is dead.
    agent = socket;
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      if (agent === socket) agent = null;
    });
    const split = lineSplitter(lineLimitBytes, (line) => {
      supervisor.agentSeen();
      if (line === "") return;
      void answer(supervisor, line).then(({ said, isGone }) => {
        const answered = new Promise<void>((resolve) => socket.write(`${JSON.stringify(said)}\n`, () => resolve()));
        if (isGone) onDestroyed(answered);
      });
    });
    socket.on("data", (chunk: Buffer) => {
      if (!split(chunk)) socket.destroy();
    });
    unlisten?.();
    unlisten = supervisor.listen((event) => socket.write(`${JSON.stringify({ event } satisfies Said)}\n`));
    socket.on("close", () => {
      // What happens while nobody listens is kept for the next agent.
      if (agent !== null) return;
      unlisten?.();
      unlisten = null;
    });
  });
  let unlisten: (() => void) | null = null;
  await listenPrivately(server, socketName);
  return server;
}

async function answer(supervisor: Supervisor, line: string): Promise<{ said: Said; isGone: boolean }> {
  let id = 0;
  try {
    const call = Call.parse(JSON.parse(line));
    id = call.id;
    const result = (await perform(supervisor, call)) ?? null;
    return { said: { id, result }, isGone: call.method === "destroy" };
  } catch (error) {
    return { said: { id, error: messageOf(error) }, isGone: false };
  }
}

function perform(supervisor: Supervisor, call: Call): Promise<unknown> | Greeting {
  switch (call.method) {
    case "hello":
      return greetingOf(supervisor);
    case "status":
      return supervisor.status();
    case "account":
      return supervisor.account();
    case "run":
      return supervisor.run(call.fencingToken, call.replaceLockFile);
    case "takeBackLock":
      return supervisor.takeBackLock(call.fencingToken);
    case "arrivePaused":
      return supervisor.arrivePaused(call.fencingToken);
    case "pause":
      return supervisor.pause();
    case "reset":
      return supervisor.reset(call.number);
    case "resume":
      return supervisor.resume(call.fencingToken);
    case "permitNext":
      return supervisor.permitNext(call.next);
    case "receive":
      return supervisor.receive(incomingFrom(call.stream));
    case "send":
      return supervisor.send(outgoingFrom(call.stream));
    case "throttle":
      return supervisor.throttle(call.percent);
    case "cancelStream":
      return supervisor.cancelStream();
    case "holdAtGate":
      return supervisor.holdAtGate(call.agentSilenceMs);
    case "passGate":
      return supervisor.passGate();
    case "cancelAtGate":
      return supervisor.cancelAtGate();
    case "destroy":
      return supervisor.destroy();
  }
}

function greetingOf(supervisor: Supervisor): Greeting {
  const { request, leaving, machine } = supervisor.memo;
  return {
    vmId: request.vmId,
    spec: request.spec,
    migrationId: leaving?.migrationId ?? request.migrationId,
    built: machine !== null,
  };
}
