// The process of one guest. It is started ahead or at need, waits on its input for the one launch that it serves, and
// from then on is spoken to over a socket in the copy's folder. It outlives whoever started it, and ends with its guest.
import { appendFileSync, rmSync, writeFileSync } from "node:fs";
import { flushCompileCache, getCompileCacheDir } from "node:module";
import net from "node:net";
import { join } from "node:path";
import { messageOf } from "../../message-of.ts";
import type { MachineEvent, MachineReference } from "../../ports/hypervisor.ts";
import { nameProcess } from "../../process-title.ts";
import { listenPrivately } from "../private-socket.ts";
import {
  type Answer,
  Call,
  incomingFrom,
  type LaunchAnswer,
  LaunchLine,
  lastWordsName,
  logName,
  outgoingFrom,
  readLines,
  socketName,
  type Told,
} from "./control-protocol.ts";
import { noteExecution } from "./execution-note.ts";
import { Guest } from "./guest.ts";
import { startTime } from "./process-identity.ts";
import { rehearse } from "./rehearsal.ts";
import { loadV86Build } from "./v86-build.ts";
import { Vm } from "./vm.ts";

/** A client that has so much unread misses measurements, and nothing else. */
const unreadBytes = 1024 * 1024;

const say = (answer: LaunchAnswer): void => void process.stdout.write(`${JSON.stringify(answer)}\n`);
// Whoever started this process may be gone at any time.
process.stdout.on("error", () => undefined);
process.on("SIGHUP", () => undefined);

let wasReached = false;
let request: LaunchLine | null = null;
readLines(process.stdin, (line) => {
  if (request !== null) return;
  request = LaunchLine.parse(JSON.parse(line));
  void launch(request).catch((error: unknown) => {
    say({ kind: "failed", detail: messageOf(error) });
    process.exitCode = 1;
    setTimeout(() => process.exit(), 100);
  });
});
// A spare whose owner is gone, and a guest that nobody has reached yet, are nobody's.
process.stdin.on("close", () => {
  if (!wasReached) process.exit();
});
process.stdin.on("error", () => undefined);

const spareMemoryMiB = Number(process.argv[2] ?? 0);
/** The machine built ahead; awaited by the launch, so that the two do not compete. */
const spare: Promise<Vm | null> = spareMemoryMiB > 0 ? prepare() : Promise.resolve(null);
spare.catch(() => undefined);

async function prepare(): Promise<Vm> {
  const build = await loadV86Build();
  const vm = await Vm.build(spareMemoryMiB, build);
  await rehearse(build);
  return vm;
}

/** A disk that takes nothing must not cost a guest: v86 logs in the middle of executing. */
function logLine(...words: unknown[]): void {
  try {
    appendFileSync(logName, `${words.join(" ")}\n`);
  } catch {}
}

async function launch({ vmId, copyId, spec, directory, arriving, lonelyMs }: LaunchLine): Promise<void> {
  process.chdir(directory);
  nameProcess("guest", { vmId, copyId });
  console.error = console.log = logLine;
  rmSync(lastWordsName, { force: true });

  // A fault of ours must not cost a guest that is well: its own faults are caught where it executes.
  process.on("uncaughtException", (error) => console.error("fault:", error.stack ?? error.message));

  const clients = new Set<net.Socket>();
  /** What nobody was there to hear, measurements apart: for the client that comes next. */
  let unheard: string[] = [];
  const emit = (event: MachineEvent): void => {
    const line = `${JSON.stringify({ event } satisfies Told)}\n`;
    const isMeasurement = event.kind === "sampled" || event.kind === "guest-reported";
    for (const client of clients) if (!isMeasurement || client.writableLength <= unreadBytes) client.write(line);
    if (clients.size === 0 && !isMeasurement) unheard.push(line);
    if (event.kind !== "ended") return;
    try {
      writeFileSync(lastWordsName, JSON.stringify({ how: event.how, detail: event.detail }));
    } catch (error) {
      console.error("last words:", String(error)); // Whoever listens has heard them; others find a process that is gone.
    }
    leave();
  };
  const leave = (): void => {
    server.close();
    const heard = [...clients].map((client) => new Promise<void>((resolve) => client.end(resolve)));
    void Promise.all(heard).then(vanish);
    // A client that does not read must not keep a guest's memory.
    setTimeout(vanish, 200);
  };
  const build = await loadV86Build();
  const guest = await Guest.build(spec, arriving, build, await spare.catch(() => null), emit, noteExecution(directory));

  let loneliness: NodeJS.Timeout | undefined;
  const beLonely = (): void => {
    loneliness = setTimeout(() => {
      if (clients.size === 0 && guest.isUntouched) vanish();
    }, lonelyMs);
  };
  const server = net.createServer((socket) => {
    wasReached = true;
    clearTimeout(loneliness);
    clients.add(socket);
    for (const line of unheard) socket.write(line);
    unheard = [];
    socket.on("error", () => socket.destroy());
    socket.on("close", () => {
      clients.delete(socket);
      if (clients.size === 0) beLonely();
    });
    readLines(
      socket,
      (line) => void answer(guest, line, leave).then((said) => socket.write(`${JSON.stringify(said)}\n`)),
    );
  });
  await listenPrivately(server, socketName);
  const startedAt = startTime(process.pid);
  if (startedAt === null) throw new Error("this process has no start time");
  const reference: Omit<MachineReference, "pid"> = { startedAt, socket: join(directory, socketName) };
  say({ kind: "launched", ...reference });
}

/** An ordinary exit waits for what is just being compiled, up to a second. */
function vanish(): void {
  if (getCompileCacheDir() !== undefined) flushCompileCache();
  process.kill(process.pid, "SIGKILL");
}

async function answer(guest: Guest, line: string, leave: () => void): Promise<Answer> {
  let id = -1;
  try {
    const call = Call.parse(JSON.parse(line));
    id = call.id;
    return { id, result: (await perform(guest, call, leave)) ?? null };
  } catch (error) {
    return { id, error: messageOf(error) };
  }
}

async function perform(guest: Guest, call: Call, leave: () => void): Promise<unknown> {
  switch (call.method) {
    case "state":
      return guest.state;
    case "run":
      return guest.run();
    case "stop":
      return guest.stop();
    case "reset":
      return guest.reset();
    case "settings":
      return guest.settings();
    case "receive":
      return guest.receive(incomingFrom(call.stream));
    case "send":
      return guest.send(outgoingFrom(call.stream));
    case "finish":
      return guest.finish();
    case "cancel":
      return guest.cancel();
    case "throttle":
      return guest.throttle(call.percent);
    case "type":
      return guest.type(call.text);
    case "digest":
      return guest.memoryDigest();
    case "destroy":
      await guest.stop();
      guest.cancel();
      setImmediate(leave);
      return null;
  }
}
