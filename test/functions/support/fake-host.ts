// A host as the control plane meets it: it signs real requests, and plays its part in migrations by the record alone.
// What of the guest exists on which host is kept in `Guests`, shared by the hosts of a test.
import { type AgentReport, Assignment, agentHeaders, type ClaimAnswer, type CopyDuty } from "../../../schemas/agent.ts";
import type { HostFacts } from "../../../schemas/host.ts";
import { MigrationRecord } from "../../../schemas/migration.ts";
import {
  contentDigest,
  makeKeyPair,
  openDocument,
  type Sign,
  type Signed,
  signerFrom,
  signRequest,
  verifierFrom,
} from "../../../schemas/signing.ts";
import { type Answer, answerOf, cluster, type World } from "./world.ts";

/** Another one for every name. */
function addressOf(hostId: string): string {
  const number = [...hostId].reduce((sum, letter) => (sum * 31 + letter.charCodeAt(0)) % 2 ** 24, 0);
  return `127.${number >> 16}.${(number >> 8) & 255}.${number & 255}`;
}

export const facts = (hostId: string, changes: Partial<HostFacts> = {}): HostFacts => ({
  cpu: { vendor: "GenuineTest", model: "T1", features: ["sse2"], count: 2 },
  memoryMiB: 4096,
  networks: [],
  migrationAddress: addressOf(hostId),
  volumes: [],
  hypervisor: { kind: "simulated", version: "1" },
  agent: { version: "0.1.0", protocol: 1 },
  platform: { name: "test", version: "1", edition: "" },
  ...changes,
});

type Seen = Extract<AgentReport, { kind: "copy-seen" }>;
export type Overrides = {
  counter?: number;
  acknowledged?: number;
  incarnation?: string;
  createdMs?: number;
  sign?: Sign;
  host?: string;
};

export type FakeHostWorld = Pick<World, "raw" | "request"> & { clock: { nowMs: number } };

export class FakeHost {
  readonly world: FakeHostWorld;
  readonly hostId: string;
  readonly publicKey: string;
  readonly joined: Answer;
  readonly sign: Sign;
  incarnation: string;
  counter = 0;
  acknowledged = 0;

  private constructor(world: FakeHostWorld, hostId: string, keys: { publicKey: string; sign: Sign }, joined: Answer) {
    this.world = world;
    this.hostId = hostId;
    this.publicKey = keys.publicKey;
    this.sign = keys.sign;
    this.joined = joined;
    this.incarnation = newIncarnation();
  }

  static async join(world: FakeHostWorld, hostId: string, changes: Partial<HostFacts> = {}): Promise<FakeHost> {
    const { privateKey, publicKey } = await makeKeyPair();
    const { body } = await world.request("POST", "/join-tokens", { host: hostId });
    const request = { token: body.token, host: hostId, publicKey, facts: facts(hostId, changes) };
    const joined = await world.request("POST", "/v1/join", request);
    return new FakeHost(world, hostId, { publicKey, sign: await signerFrom(privateKey) }, joined);
  }

  reboot(): void {
    this.incarnation = newIncarnation();
  }

  async send(method: "GET" | "POST", path: string, body?: unknown, overrides: Overrides = {}): Promise<Answer> {
    const text = body === undefined ? "" : typeof body === "string" ? body : JSON.stringify(body);
    const counter = overrides.counter ?? ++this.counter;
    const parts = {
      method,
      path,
      contentDigest: await contentDigest(text),
      host: overrides.host ?? `${cluster}/${this.hostId}`,
      incarnation: overrides.incarnation ?? this.incarnation,
      counter: String(counter),
      acknowledged: String(overrides.acknowledged ?? this.acknowledged),
    };
    const createdMs = overrides.createdMs ?? this.world.clock.nowMs;
    const signed = await signRequest(parts, Math.floor(createdMs / 1000), overrides.sign ?? this.sign);
    const answer = await answerOf(
      await this.world.raw(path, {
        method,
        headers: {
          "content-type": "application/json",
          "content-digest": parts.contentDigest,
          [agentHeaders.host]: parts.host,
          [agentHeaders.incarnation]: parts.incarnation,
          [agentHeaders.counter]: parts.counter,
          [agentHeaders.acknowledged]: parts.acknowledged,
          ...signed,
        },
        ...(text === "" ? {} : { body: text }),
      }),
    );
    const known = answer.headers.get(agentHeaders.counter);
    if (known !== null && answer.body.code !== "table-went-back") {
      this.acknowledged = Math.max(this.acknowledged, Number(known));
      this.counter = Math.max(this.counter, Number(known));
    }
    // As an agent does: it has learnt from which number the table counts now.
    const isBehind = answer.body.code === "counter-stale" && counter < this.counter && overrides.counter === undefined;
    return isBehind ? this.send(method, path, body, overrides) : answer;
  }

  heartbeat(body: object = {}, overrides: Overrides = {}): Promise<Answer> {
    return this.send("POST", "/v1/agent/heartbeat", body, overrides);
  }
  claim(overrides: Overrides = {}): Promise<Answer> {
    return this.send("POST", "/v1/agent/claim", {}, overrides);
  }
  record(migrationId: string, overrides: Overrides = {}): Promise<Answer> {
    return this.send("POST", "/v1/agent/record", { migrationId }, overrides);
  }
  report(report: object, overrides: Overrides = {}): Promise<Answer> {
    return this.send("POST", "/v1/agent/report", report, overrides);
  }
  seen(
    seen: Partial<Seen> & Pick<Seen, "vmId" | "copyId" | "fencingToken" | "state">,
    overrides: Overrides = {},
  ): Promise<Answer> {
    return this.report({ kind: "copy-seen", ...seen }, overrides);
  }

  /** What a claim answers, its documents opened. */
  async claimed(): Promise<{ revision: number; copies: CopyDuty[]; assignment: Claimed | null }> {
    const { status, body } = await this.claim();
    if (status !== 200) throw new Error(`${this.hostId} claims: ${JSON.stringify(body)}`);
    const claim = body as ClaimAnswer;
    const assignment = claim.assignment && {
      role: claim.assignment.role,
      assignment: await this.open(claim.assignment.signed, Assignment),
      record: claim.assignment.record && (await this.open(claim.assignment.record, MigrationRecord)),
    };
    return { revision: claim.assignmentsRevision, copies: claim.copies, assignment };
  }

  async open<T>(signed: Signed, schema: import("zod").ZodType<T>): Promise<T> {
    const verify = await verifierFrom(this.joined.body.verificationKey);
    const document = await openDocument(signed, schema, verify);
    if (!document) throw new Error("the control plane's signature does not hold");
    return document;
  }
}
export type Claimed = { role: "source" | "destination"; assignment: Assignment; record: MigrationRecord | null };

function newIncarnation(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}
