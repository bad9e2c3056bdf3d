// The product's own adapters in the places where memory stands in otherwise: journal, gate, memo and lock files on disk,
// a table in SQLite, requests and answers over HTTP on loopback. Time waits for each of them, and they come one after
// the other, so that a seed still gives one history.
import { copyFileSync, readdirSync, rmSync } from "node:fs";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { getRequestListener } from "@hono/node-server";
import { writeDurably } from "../../agents/adapters/durable-file.ts";
import { FileGate } from "../../agents/adapters/file-gate.ts";
import { openFileJournal } from "../../agents/adapters/file-journal.ts";
import type { LockVolume } from "../../agents/adapters/local-copies.ts";
import { SqliteLockFiles } from "../../agents/adapters/sqlite-lock-file.ts";
import type { Journal } from "../../agents/ports/journal.ts";
import type { HeldLock, LockFiles } from "../../agents/ports/lock-file.ts";
import { CopyMemo } from "../../agents/supervisor/memo.ts";
import { openSqliteTable } from "../../functions/adapters/sqlite-table.ts";
import type { Item, Table } from "../../functions/ports/table.ts";
import type { Exchange, Storage, TestHost } from "../support/cluster.ts";
import type { Scheduler } from "./scheduler.ts";
import type { Store } from "./simulation.ts";

export class RealAdapters {
  readonly store: Store;
  readonly locks: FileLockVolume;
  readonly #folder: string;
  readonly #scheduler: Scheduler;
  readonly #server: Server;
  readonly #wire: Wire;
  readonly #journals = new Map<string, Journal>();

  /** @param scheduler waits for what leaves this thread */
  static async open(scheduler: Scheduler): Promise<RealAdapters> {
    const folder = await mkdtemp(join(tmpdir(), "drover-simulation-"));
    const wire = new Wire(scheduler);
    const server = createServer(getRequestListener((request) => wire.arrived(request)));
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", resolve));
    wire.port = (server.address() as AddressInfo).port;
    await mkdir(join(folder, "volume"));
    return new RealAdapters(folder, scheduler, server, wire);
  }

  private constructor(folder: string, scheduler: Scheduler, server: Server, wire: Wire) {
    this.#folder = folder;
    this.#scheduler = scheduler;
    this.#server = server;
    this.#wire = wire;
    this.store = sqliteStore(join(folder, "table.sqlite"));
    this.locks = new FileLockVolume(join(folder, "volume"), scheduler);
  }

  readonly exchange: Exchange = (handle, path, init) => this.#wire.exchange(handle, path, init);

  /** What of a host's disk outlives its processes. `host.disk` and `host.gate` say whether it takes writes. */
  storage(host: TestHost): Storage {
    const path = join(this.#folder, host.hostId);
    const gate = new FileGate(join(path, "gate"));
    const outside = <T>(work: () => Promise<T>) => this.#scheduler.outside(work);
    return {
      gate: {
        read: (migrationId) => gate.read(migrationId),
        forget: (migrationId) => gate.forget(migrationId),
        decide: async (migrationId, decision) => {
          if (host.gate.failing) throw new Error("the gate cannot be written");
          return gate.decide(migrationId, decision);
        },
      },
      openJournal: async () => {
        const journal = await outside(() => openFileJournal(join(path, "journal")));
        this.#journals.set(host.hostId, journal);
        return fullWhenSaid(journal, host, outside);
      },
      memory: (copyId) => ({
        write: (memo) => outside(() => writeDurably(join(path, copyId), JSON.stringify(CopyMemo.parse(memo)))),
      }),
    };
  }

  journal(hostId: string): Journal | null {
    return this.#journals.get(hostId) ?? null;
  }

  gates(hostId: string): number {
    return readdirSync(join(this.#folder, hostId, "gate")).length;
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => void this.#server.close(resolve));
    this.locks.close();
    await this.store.table.close();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

function fullWhenSaid(journal: Journal, host: TestHost, outside: <T>(work: () => Promise<T>) => Promise<T>): Journal {
  const kept = <T>(write: () => Promise<T>): Promise<T> =>
    host.disk.failing ? Promise.reject(new Error("the journal cannot be written")) : outside(write);
  return {
    highestToken: (vmId) => journal.highestToken(vmId),
    tokens: () => journal.tokens(),
    tableStanding: () => journal.tableStanding(),
    migration: (migrationId) => journal.migration(migrationId),
    migrations: () => journal.migrations(),
    keepTableStanding: (standing) => kept(() => journal.keepTableStanding(standing)),
    raiseToken: (vmId, fencingToken) => kept(() => journal.raiseToken(vmId, fencingToken)),
    write: (entry) => kept(() => journal.write(entry)),
    prove: () => kept(() => journal.prove()),
    forget: (migrationId) => kept(() => journal.forget(migrationId)),
  };
}

/** A SQLite file; a backup is what `VACUUM INTO` makes of it, and takes its place. */
function sqliteStore(path: string): Store {
  let table: Table = openSqliteTable(path);
  let backups = 0;
  const read = <T>(look: (database: DatabaseSync) => T): T => {
    const database = new DatabaseSync(path);
    try {
      return look(database);
    } finally {
      database.close();
    }
  };
  return {
    table: {
      get: (keys) => table.get(keys),
      query: (range) => table.query(range),
      commit: (changes) => table.commit(changes),
      close: () => table.close(),
    },
    backUp: () => {
      const backup = `${path}.${++backups}`;
      read((database) => database.exec(`VACUUM INTO '${backup}'`));
      return backup;
    },
    restore: (backup) => {
      void table.close(); // Closed when this returns: the adapter works in this thread.
      for (const left of [path, `${path}-wal`, `${path}-shm`]) rmSync(left, { force: true });
      copyFileSync(backup as string, path);
      table = openSqliteTable(path);
    },
    items: () =>
      read((database) =>
        database.prepare("SELECT partition, sort, revision, schema_version, data FROM items").all(),
      ).map(
        ({ partition, sort, revision, schema_version, data }): Item => ({
          partition: String(partition),
          sort: String(sort),
          revision: Number(revision),
          schemaVersion: Number(schema_version),
          data: JSON.parse(String(data)),
        }),
      ),
  };
}

/** Lock files on a shared folder; what a process held is closed when it dies, as the kernel would. */
class FileLockVolume implements LockVolume {
  readonly #files: SqliteLockFiles;
  readonly #scheduler: Scheduler;
  readonly #held = new Map<HeldLock, { vmId: string; copyId: string; holder: object }>();
  readonly #dead = new WeakSet<object>();
  /** While set, the volume cannot be reached; what is held stays held. */
  unreachable = false;

  constructor(volume: string, scheduler: Scheduler) {
    this.#files = new SqliteLockFiles(volume);
    this.#scheduler = scheduler;
  }

  as(holder: object): LockFiles {
    return {
      read: (vmId) => this.#reach(() => this.#files.read(vmId)),
      take: async (vmId, copyId, fencingToken, manner) => {
        const taken = await this.#reach(() => this.#files.take(vmId, copyId, fencingToken, manner));
        if (taken.kind !== "taken") return taken;
        const { lock } = taken;
        if (this.#dead.has(holder)) {
          await lock.release(); // It died while it took the file, and the kernel has closed it.
          return { kind: "held" };
        }
        this.#held.set(lock, { vmId, copyId, holder });
        return { kind: "taken", lock: this.#watched(lock) };
      },
    };
  }

  holders(): { vmId: string; copyId: string }[] {
    return [...this.#held.values()].map(({ vmId, copyId }) => ({ vmId, copyId }));
  }

  holderDied(holder: object): void {
    this.#dead.add(holder);
    for (const [lock, held] of this.#held) if (held.holder === holder) this.#release(lock);
  }

  close(): void {
    for (const lock of this.#held.keys()) this.#release(lock);
  }

  #watched(lock: HeldLock): HeldLock {
    return {
      isInPlace: () => lock.isInPlace(),
      get stamp() {
        return lock.stamp;
      },
      permitNext: (next) => this.#reach(() => lock.permitNext(next)),
      release: async () => this.#release(lock),
    };
  }

  #release(lock: HeldLock): void {
    this.#held.delete(lock);
    void lock.release();
  }

  async #reach<T>(work: () => Promise<T>): Promise<T> {
    if (this.unreachable) throw new Error("the shared volume cannot be reached");
    return this.#scheduler.outside(work);
  }
}

type Underway = { request: PromiseWithResolvers<Request>; response: PromiseWithResolvers<Response> };

/** Node's client and server with a socket between them. The request travels, then it is handled in simulated time, then
 *  the answer travels. */
class Wire {
  readonly #scheduler: Scheduler;
  readonly #underway = new Map<string, Underway>();
  #count = 0;
  port = 0;

  constructor(scheduler: Scheduler) {
    this.#scheduler = scheduler;
  }

  async arrived(request: Request): Promise<Response> {
    const known = this.#underway.get(request.headers.get(mark) ?? "");
    if (!known) return new Response(null, { status: 400 });
    known.request.resolve(await withoutMark(request));
    return known.response.promise;
  }

  exchange: Exchange = async (handle, path, init) => {
    const id = String(++this.#count);
    const underway: Underway = { request: Promise.withResolvers(), response: Promise.withResolvers() };
    this.#underway.set(id, underway);
    const { signal: _, ...rest } = init;
    const headers = new Headers(rest.headers);
    headers.set(mark, id);
    try {
      const answered = this.#scheduler.outside(async () => {
        const sent = fetch(`http://127.0.0.1:${this.port}${path}`, { ...rest, headers });
        sent.catch(() => {});
        return { sent, request: await Promise.race([underway.request.promise, failureOf(sent)]) };
      });
      const { sent, request } = await answered;
      const response = await handle(request);
      return await this.#scheduler.outside(async () => {
        underway.response.resolve(response);
        const received = await sent;
        const body = await received.arrayBuffer();
        const { status } = received;
        return new Response(body.byteLength > 0 ? body : null, { status, headers: received.headers });
      });
    } finally {
      this.#underway.delete(id);
    }
  };
}

const mark = "x-simulated-exchange";

async function withoutMark(request: Request): Promise<Request> {
  const headers = new Headers(request.headers);
  headers.delete(mark);
  const { pathname, search } = new URL(request.url);
  const body = await request.arrayBuffer();
  return new Request(`http://localhost${pathname}${search}`, {
    method: request.method,
    headers,
    ...(body.byteLength > 0 ? { body } : {}),
  });
}

const failureOf = (sent: Promise<Response>): Promise<never> => new Promise((_, reject) => void sent.catch(reject));
