// A cluster of real processes that may be ended at any instant: one control plane and hosts on loopback, each of them
// halting at durable steps in a folder of its own, agents and control plane started again as an init system does it.

import { spawn } from "node:child_process";
import { randomBytes, randomUUID } from "node:crypto";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as delay } from "node:timers/promises";
import { programPath } from "../../cli/cluster/child.ts";
import { hostName, migrationAddress } from "../../cli/cluster/cluster.ts";
import { choosePeerPort } from "../../cli/cluster/peer-port.ts";
import { type Reaper, startReaper } from "../../infra/reaper.ts";
import { makeKeyPair, toBase64Url } from "../../schemas/signing.ts";
import type { VmSpec } from "../../schemas/vm.ts";
import { type Found, type Kind, killAll, processesOf } from "./processes.ts";
import { Service } from "./service.ts";

export const cluster = "kill";
export const vmId = "vm-1";
const controlPlane = "control-plane";
const readyWithinMs = 60_000;
const lookEveryMs = 3;
/** Short, so that a cell is: hosts report often, and a lost host may be declared so soon. */
const settings = { DROVER_HEARTBEAT_MS: "500", DROVER_BUSY_HEARTBEAT_MS: "500", DROVER_LEASE_MS: "5000" };

export type Armed = { place: string; moment: "before" | "after"; step: string };
export type WorldOptions = {
  hypervisor: VmSpec["hypervisor"];
  hosts?: number;
  /** More variables for the agents' processes. */
  agents?: Record<string, string>;
};

export class World {
  readonly folder: string;
  readonly hypervisor: VmSpec["hypervisor"];
  readonly hosts: string[] = [];
  /** When a process that the harness has ended was seen to be dead, on the clock of the guests' notes. */
  readonly deaths = new Map<number, bigint>();
  readonly #reaper: Reaper;
  /** How many hosts have come and gone since it began. */
  joined = 0;
  #isBegun = false;
  #armed: Armed | null = null;
  #table = { id: cluster, epoch: 0 };
  readonly #services = new Map<string, Service>();
  readonly #key = `drover_${toBase64Url(randomBytes(32))}`;
  #url = "";
  readonly #agents: Record<string, string>;
  peerPort = 0;

  private constructor(folder: string, reaper: Reaper, { hypervisor, agents = {} }: WorldOptions) {
    this.folder = folder;
    this.#reaper = reaper;
    this.hypervisor = hypervisor;
    this.#agents = agents;
  }

  static async start(options: WorldOptions): Promise<World> {
    const { hosts = 2 } = options;
    const folder = await mkdtemp(join(tmpdir(), "drover-kill-"));
    const world = new World(folder, await startReaper(folder), options);
    try {
      await world.#begin(hosts);
      return world;
    } catch (error) {
      await world.stop();
      throw error;
    }
  }

  async #begin(hosts: number): Promise<void> {
    for (const name of ["logs", "halt", "shared-volume", "table"]) mkdirSync(join(this.folder, name));
    writeFileSync(join(this.folder, "api-key"), this.#key, { mode: 0o600 });
    writeFileSync(join(this.folder, "signing-key"), (await makeKeyPair()).privateKey, { mode: 0o600 });
    this.#url = await this.addControlPlane();
    await this.ask("POST", "/v1/clusters", { cluster });
    const names = Array.from({ length: hosts }, (_, index) => hostName(index));
    this.peerPort = await choosePeerPort(names.map((_, index) => migrationAddress(index)));
    for (const host of names) await this.addHost(host);
    await Promise.all(names.map((host) => this.#services.get(host)?.first));
    this.#isBegun = true;
  }

  /** @returns where it listens */
  async addControlPlane(name = controlPlane, keyFile = join(this.folder, "api-key")): Promise<string> {
    mkdirSync(this.haltFolder(name), { recursive: true });
    let url = "";
    const service = new Service(() => ({
      name,
      program: programPath("functions/runtime/node"),
      logFile: join(this.folder, "logs", `${name}.log`),
      readyWithinMs,
      environment: {
        DROVER_LISTEN: url === "" ? "127.0.0.1:0" : new URL(url).host,
        DROVER_TABLE: `sqlite:${this.#tableFile(name)}`,
        DROVER_TABLE_ID: name === controlPlane ? this.#table.id : name,
        DROVER_RESTORE_EPOCH: name === controlPlane ? String(this.#table.epoch) : "0",
        DROVER_SIGNING_KEY_FILE: join(this.folder, "signing-key"),
        DROVER_BOOTSTRAP_KEY_FILE: keyFile,
        DROVER_HALT_STEPS: this.haltFolder(name),
        ...settings,
      },
    }));
    this.#services.set(name, service);
    url = String((await service.first).ready["listening"]);
    return url;
  }

  async removeControlPlane(name: string): Promise<void> {
    await this.#remove(name);
    for (const suffix of ["", "-wal", "-shm"]) rmSync(`${this.#tableFile(name)}${suffix}`, { force: true });
  }

  async #remove(name: string): Promise<void> {
    this.disarm();
    await this.#services.get(name)?.stop();
    this.#services.delete(name);
    await this.kill(this.processes(name));
    rmSync(this.haltFolder(name), { recursive: true, force: true });
  }

  /** Resolves when its process is being started. */
  async addHost(host: string): Promise<void> {
    const index = this.joined + this.hosts.length;
    if (!this.#isBegun) this.hosts.push(host);
    mkdirSync(join(this.folder, host), { recursive: true });
    mkdirSync(this.haltFolder(host), { recursive: true });
    const tokenFile = join(this.folder, host, "join-token");
    const answer = await this.ask("POST", `/v1/clusters/${cluster}/join-tokens`, { host });
    writeFileSync(tokenFile, String(answer["token"]), { mode: 0o600 });
    const service = new Service(() => ({
      name: host,
      program: programPath("agents/main"),
      logFile: join(this.folder, "logs", `${host}.log`),
      readyWithinMs,
      environment: {
        DROVER_CONTROL_PLANE: this.#url,
        DROVER_CLUSTER: cluster,
        DROVER_HOST: host,
        DROVER_DATA: this.dataFolder(host),
        DROVER_RUN: join(this.folder, host, "run"),
        DROVER_SHARED_VOLUME: join(this.folder, "shared-volume"),
        DROVER_MIGRATION_ADDRESS: migrationAddress(index),
        DROVER_PEER_PORT: String(this.peerPort),
        DROVER_JOIN_TOKEN_FILE: tokenFile,
        DROVER_HYPERVISOR: this.hypervisor,
        DROVER_GUEST_MEMORY_MIB: "1024",
        DROVER_HALT_STEPS: this.haltFolder(host),
        ...this.#agents,
      },
    }));
    this.#services.set(host, service);
  }

  /** Ends a host that was added to a world that had begun. */
  async removeHost(host: string): Promise<void> {
    await this.#remove(host);
    rmSync(join(this.folder, host), { recursive: true, force: true });
    this.joined += 1;
  }

  #tableFile(name: string): string {
    return join(this.folder, "table", `${name}.sqlite`);
  }
  haltFolder(place: string): string {
    return join(this.folder, "halt", place);
  }
  dataFolder(host: string): string {
    return join(this.folder, host, "data");
  }
  lockFile(vm: string): string {
    return join(this.folder, "shared-volume", "locks", `${vm}.lock`);
  }

  processes(place: string): Found[] {
    return processesOf(this.haltFolder(place));
  }

  /** Of the kind; of supervisors and guests those that serve a copy. */
  find(place: string, kind: Kind, copyId?: string): Found[] {
    const hasCopy = ({ copyId: its }: Found) => (copyId === undefined ? its !== null : its === copyId);
    return this.processes(place).filter(
      (found) => found.kind === kind && (kind === "agent" || kind === "control-plane" || hasCopy(found)),
    );
  }

  holdDown(place: string): void {
    this.#services.get(place)?.holdDown();
  }
  letUp(place: string): void {
    this.#services.get(place)?.letUp();
  }
  letAllUp(): void {
    for (const service of this.#services.values()) service.letUp();
  }

  async kill(victims: readonly Found[]): Promise<void> {
    await killAll(victims.map(({ pid }) => pid));
    for (const { pid } of victims) this.deaths.set(pid, process.hrtime.bigint());
  }

  /** All that executes on a host at once, as when its power fails; what a reboot erases is gone. */
  async powerOff(...places: string[]): Promise<void> {
    for (const place of places) this.holdDown(place);
    await this.kill(places.flatMap((place) => this.processes(place)));
    // What was just being started bears the mark by now.
    await this.kill(places.flatMap((place) => this.processes(place)));
    for (const place of places) rmSync(join(this.folder, place, "run"), { recursive: true, force: true });
  }

  arm(armed: Armed): void {
    const { place, moment, step } = armed;
    const folder = this.haltFolder(place);
    mkdirSync(folder, { recursive: true });
    this.#armed = armed;
    writeFileSync(join(folder, "arming"), `${moment} ${step}`);
    renameSync(join(folder, "arming"), join(folder, "armed"));
  }

  /** What is armed, which is armed no more. */
  takeArmed(): Armed | null {
    const armed = this.#armed;
    this.disarm();
    return armed;
  }

  disarm(): void {
    this.#armed = null;
    if (!existsSync(join(this.folder, "halt"))) return;
    for (const place of readdirSync(join(this.folder, "halt"))) {
      for (const name of readdirSync(this.haltFolder(place))) {
        if (name === "armed" || name.startsWith("halted-")) rmSync(join(this.haltFolder(place), name), { force: true });
      }
    }
  }

  /** @returns the process that stands still there; null when none did in time */
  async halted({ place, moment, step }: Armed, withinMs: number): Promise<number | null> {
    const folder = this.haltFolder(place);
    for (const until = performance.now() + withinMs; performance.now() < until; await delay(lookEveryMs)) {
      const names = readdirSync(folder).filter((found) => found.startsWith("halted-"));
      const name = names.find((found) => this.readText(join(folder, found)) === `${moment} ${step}`);
      if (name) return Number(name.slice("halted-".length));
    }
    return null;
  }

  release(place: string, pid: number): void {
    rmSync(join(this.haltFolder(place), `halted-${pid}`), { force: true });
  }

  /** Asked with one idempotency key until it is answered: the control plane may die meanwhile.
   *  @throws Refused */
  async ask(method: string, path: string, body?: object, withinMs = 60_000): Promise<{ [name: string]: unknown }> {
    const idempotencyKey = randomUUID();
    for (const until = performance.now() + withinMs; ; await delay(100)) {
      try {
        const answer = await fetch(new URL(path, this.#url), {
          method,
          headers: {
            authorization: `Bearer ${this.#key}`,
            "content-type": "application/json",
            ...(method === "GET" ? {} : { "idempotency-key": idempotencyKey }),
          },
          ...(body ? { body: JSON.stringify(body) } : {}),
          signal: AbortSignal.timeout(15_000),
        });
        const parsed = (await answer.json()) as { [name: string]: unknown };
        if (answer.ok) return parsed;
        if (parsed["code"] !== "table-busy" && answer.status < 500) throw new Refused(parsed);
      } catch (error) {
        if (error instanceof Refused) throw error;
      }
      if (performance.now() > until) throw new Error(`${method} ${path} was not answered within ${withinMs} ms`);
    }
  }

  /** What the table holds at this very instant, whoever stands still. */
  item(partition: string, sort: string): { [name: string]: unknown } | null {
    return this.#query("SELECT data FROM items WHERE partition = ? AND sort = ?", partition, sort)[0] ?? null;
  }

  /** Ids sort by age. */
  lastMigration(): { [name: string]: unknown } | null {
    const partition = `c/${cluster}/migrations`;
    return this.#query("SELECT data FROM items WHERE partition = ? ORDER BY sort DESC LIMIT 1", partition)[0] ?? null;
  }

  /** As a backup takes it: whole, as of one moment. */
  backUpTable(): void {
    rmSync(this.#backup, { force: true });
    const database = new DatabaseSync(this.#tableFile(controlPlane), { timeout: 5000 });
    try {
      database.exec(`VACUUM INTO '${this.#backup}'`);
    } finally {
      database.close();
    }
  }

  /** The table goes back to its backup, and is served under its old name. */
  async putBackupBack(): Promise<void> {
    await this.powerOff(controlPlane);
    const file = this.#tableFile(controlPlane);
    for (const suffix of ["-wal", "-shm"]) rmSync(`${file}${suffix}`, { force: true });
    copyFileSync(this.#backup, file);
    this.letUp(controlPlane);
  }

  /** Restores it under another name, and serves it under that. */
  async restoreTable(place: string): Promise<void> {
    mkdirSync(this.haltFolder(place), { recursive: true });
    await this.powerOff(controlPlane);
    const epoch = this.#table.epoch + 1;
    const named = { id: `${cluster}-${epoch}`, epoch };
    const words = [this.#tableFile(controlPlane), join(this.folder, "signing-key"), named.id, String(epoch)];
    const environment = { ...process.env, DROVER_HALT_STEPS: this.haltFolder(place) };
    for (let code: number | null = 1; code !== 0; ) {
      const child = spawn(process.execPath, [join(import.meta.dirname, "restore-main.ts"), ...words], {
        env: environment,
        stdio: ["ignore", "ignore", "inherit"],
      });
      code = await new Promise((resolve) => child.once("exit", resolve));
    }
    this.#table = named;
    this.letUp(controlPlane);
  }

  get #backup(): string {
    return join(this.folder, "backup.sqlite");
  }

  /** Of other VMs than the one that the cells are about. */
  copiesOfOthers(): Set<string> {
    const migrations = this.#query("SELECT data FROM items WHERE partition = ?", `c/${cluster}/migrations`);
    const others = migrations.filter((migration) => migration["vmId"] !== vmId);
    const copies = others.flatMap(({ source, destination }) => [source, destination] as { copyId: string }[]);
    return new Set(copies.map(({ copyId }) => copyId));
  }

  #query(sql: string, ...bound: string[]): { [name: string]: unknown }[] {
    const database = new DatabaseSync(this.#tableFile(controlPlane), { readOnly: true, timeout: 2000 });
    try {
      return database
        .prepare(sql)
        .all(...bound)
        .map((row) => JSON.parse(String(row["data"])));
    } finally {
      database.close();
    }
  }

  logTails(lines = 25): string {
    const logs = join(this.folder, "logs");
    if (!existsSync(logs)) return "";
    const isNoise = (line: string) => /agent\/(doorbell|heartbeat)|"inventory-told"|"heartbeat-unanswered"/.test(line);
    return readdirSync(logs)
      .flatMap((file) => {
        const told = this.readText(join(logs, file)).trimEnd().split("\n");
        return [`--- ${file}`, ...told.filter((line) => !isNoise(line)).slice(-lines)];
      })
      .join("\n");
  }

  /** What there is at this moment, for whoever has to explain a failure. */
  describe(): string {
    const places = existsSync(join(this.folder, "halt")) ? readdirSync(join(this.folder, "halt")) : [];
    const lines = places.flatMap((place) => [
      `--- ${place}: ${readdirSync(this.haltFolder(place)).join(", ")}`,
      ...this.processes(place).map(({ pid, kind, copyId }) => `${kind} ${pid}, ${copyId ?? "no copy"}`),
    ]);
    for (const host of this.hosts) {
      const copies = join(this.dataFolder(host), "copies");
      for (const copy of existsSync(copies) ? readdirSync(copies) : []) {
        const memo =
          this.readText(join(copies, copy, "copy.json"))
            .trimEnd()
            .split("\n")
            .at(-1) ?? "";
        lines.push(
          `${host}: ${copy}: ${memo.slice(65)}`,
          this.readText(join(copies, copy, "supervisor.log")).trimEnd(),
        );
      }
    }
    return lines.filter((line) => line !== "").join("\n");
  }

  /** Nothing is left of it. */
  async stop(): Promise<void> {
    this.disarm();
    await Promise.all([...this.#services.values()].map((service) => service.stop()));
    await this.#reaper.reap();
  }

  readText(path: string): string {
    return existsSync(path) ? readFileSync(path, "utf8") : "";
  }
}

/** The control plane said no, by a code. */
export class Refused extends Error {
  readonly code: string;
  constructor(problem: { [name: string]: unknown }) {
    super(`${problem["code"]}: ${problem["detail"]}`);
    this.code = String(problem["code"]);
  }
}
