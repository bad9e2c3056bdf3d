// One host's agent as a process: reads the environment, joins if it has not, and works until SIGTERM. Guests live on.
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { join as joinPath } from "node:path";
import process from "node:process";
import type { HostFacts } from "../schemas/host.ts";
import { signerFrom } from "../schemas/signing.ts";
import { type CounterFile, openCounterFile } from "./adapters/counter-file.ts";
import { createEmbeddedHypervisor } from "./adapters/embedded/hypervisor.ts";
import { openFileJournal } from "./adapters/file-journal.ts";
import { obeyHalts } from "./adapters/halt-steps.ts";
import { readHostFacts } from "./adapters/host-facts.ts";
import { createHttpControlPlane } from "./adapters/http-control-plane.ts";
import { incarnationName, readIncarnation, renewIncarnation } from "./adapters/incarnation.ts";
import { counterName, type Identity } from "./adapters/join.ts";
import { createLongPollDoorbellWait } from "./adapters/long-poll-doorbell-wait.ts";
import { openProcessCopies } from "./adapters/process-copies.ts";
import type { SignedRequests } from "./adapters/signed-requests.ts";
import { createSqsDoorbellWait } from "./adapters/sqs-doorbell-wait.ts";
import { systemClock } from "./adapters/system-clock.ts";
import { createTcpPeerLinks } from "./adapters/tcp-peer-link.ts";
import { Agent } from "./agent.ts";
import type { AgentConfig } from "./config.ts";
import type { DoorbellWait } from "./ports/control-plane.ts";
import type { Journal } from "./ports/journal.ts";
import type { Log } from "./roles/context.ts";
import { measureRoundTrips } from "./round-trips.ts";
import { CannotStart, joinCluster, lookAround, readConfigOrLeave, settleIn } from "./start.ts";

const agentVersion = "0.1.0";
/** A guest stands at the gate for so long at most when its agent has died there. */
const agentSilenceMs = 1000;

// A log that takes nothing (a full disk, a closed pipe) must not end the agent.
for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
const log: Log = (entry) => process.stderr.write(`${JSON.stringify({ at: new Date().toISOString(), ...entry })}\n`);

async function main(): Promise<void> {
  const config = readConfigOrLeave(process.env);
  obeyHalts(process.env);
  const found = await lookAround(config);
  const hold = await settleIn(config);
  const isFirstLife = !existsSync(joinPath(config.DROVER_RUN, incarnationName));
  const incarnation = readIncarnation(config.DROVER_RUN);
  const facts = factsOf(config);
  const identity = "identity" in found ? found.identity : await joinCluster(config, found.token, await facts());
  const acknowledged = openCounterFile(joinPath(config.DROVER_DATA, counterName));
  const journal = await openFileJournal(joinPath(config.DROVER_DATA, "journal"));
  const stopping = new AbortController();
  for (const signal of ["SIGTERM", "SIGINT"] as const) process.on(signal, () => stopping.abort());

  const host = { identity, facts, acknowledged, journal, stopping: stopping.signal };
  let ended = await live(config, { ...host, incarnation, isFirstLife });
  while (ended === "declared-lost" && !stopping.signal.aborted) {
    const next = renewIncarnation(config.DROVER_RUN);
    log({ event: "new-incarnation", incarnation: next });
    ended = await live(config, { ...host, incarnation: next, isFirstLife: false });
  }
  acknowledged.close();
  hold.close();
  process.exit(ended === "refused" ? 1 : 0);
}

type Life = {
  acknowledged: CounterFile;
  journal: Journal;
  identity: Identity;
  facts: () => Promise<HostFacts>;
  incarnation: string;
  isFirstLife: boolean;
  stopping: AbortSignal;
};

/** One incarnation's agent, until it is told to stop or is heard no more. */
async function live(config: AgentConfig, life: Life): Promise<"stopped" | "refused" | "declared-lost"> {
  const { identity, facts, acknowledged, journal, incarnation, isFirstLife, stopping } = life;
  const ended = Promise.withResolvers<"stopped" | "refused" | "declared-lost">();
  const sign = await signerFrom(identity.privateKey);
  const http = await createHttpControlPlane({
    url: config.DROVER_CONTROL_PLANE,
    cluster: config.DROVER_CLUSTER,
    host: config.DROVER_HOST,
    incarnation,
    sign,
    verificationKey: identity.verificationKey,
    fetch,
    clock: systemClock,
    acknowledged,
    wallNowMs: Date.now,
  });
  const { controlPlane, p99Ms } = measureRoundTrips(http, systemClock);
  const copies = await openProcessCopies({
    data: config.DROVER_DATA,
    sharedVolume: config.DROVER_SHARED_VOLUME,
    hypervisor: config.DROVER_HYPERVISOR,
  });
  const peerLinks = await createTcpPeerLinks({
    port: config.DROVER_PEER_PORT,
    incarnation,
    sign,
    certificate: identity.certificate,
    verificationKey: identity.verificationKey,
    clock: systemClock,
  });
  const doorbell = openDoorbell(identity, http.requests);
  const agent = new Agent({
    context: {
      hostId: config.DROVER_HOST,
      incarnation,
      copies,
      controlPlane,
      peerLinks,
      journal,
      clock: systemClock,
      randomBytes: (length) => randomBytes(length),
      sign,
      log,
      commitMs: p99Ms,
      agentSilenceMs,
    },
    doorbell: doorbell.wait,
    facts,
    isFirstLife,
    onJoined: () => process.stdout.write(`${JSON.stringify({ joined: true, host: config.DROVER_HOST })}\n`),
    onRefused: (detail) => {
      log({ event: "refused-for-good", detail });
      ended.resolve("refused");
    },
    onDeclaredLost: (detail) => {
      log({ event: "declared-lost", detail });
      ended.resolve("declared-lost");
    },
  });
  if (stopping.aborted) ended.resolve("stopped");
  else stopping.addEventListener("abort", () => ended.resolve("stopped"), { once: true });
  await Promise.race([agent.start(), ended.promise]);
  const how = await ended.promise;
  await agent.stop();
  await doorbell.close();
  return how;
}

function factsOf(config: AgentConfig): () => Promise<HostFacts> {
  const hypervisor = createEmbeddedHypervisor();
  return () =>
    readHostFacts({
      hypervisor,
      agentVersion,
      migrationAddress: config.DROVER_MIGRATION_ADDRESS,
      volumes: [{ id: "shared", path: config.DROVER_SHARED_VOLUME, shared: true }],
      guestMemoryMiB: config.DROVER_GUEST_MEMORY_MIB ?? null,
    });
}

function openDoorbell(identity: Identity, requests: SignedRequests): { wait: DoorbellWait; close(): Promise<void> } {
  switch (identity.doorbell.kind) {
    case "long-poll":
      return { wait: createLongPollDoorbellWait(requests), close: async () => {} };
    case "sqs": {
      const wait = createSqsDoorbellWait({ address: identity.doorbell, clock: systemClock });
      return { wait, close: () => wait.close() };
    }
  }
}

main().catch((error: unknown) => {
  if (error instanceof CannotStart) process.stderr.write(`${error.message}\n`);
  else log({ event: "cannot-start", error: error instanceof Error ? (error.stack ?? error.message) : String(error) });
  process.exit(error instanceof CannotStart ? 2 : 1);
});
