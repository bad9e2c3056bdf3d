// What must be right before an agent begins. All of it is looked at first, and only then is anything written.
import { readFile } from "node:fs/promises";
import type { DatabaseSync } from "node:sqlite";
import type { HostFacts } from "../schemas/host.ts";
import { BadIdentity, type Identity, JoinRefused, join, loadIdentity } from "./adapters/join.ts";
import { requireWorkingLocks } from "./adapters/lock-probe.ts";
import { requireOwnAddress } from "./adapters/own-address.ts";
import { holdFolder, lookAtFolder, makeFolder } from "./adapters/own-folder.ts";
import { type AgentConfig, readConfig } from "./config.ts";
import { messageOf } from "./message-of.ts";

const answersWithinMs = 10_000;

/** Something the operator must mend before the agent can start: the variable, what is wrong, the way out. */
export class CannotStart extends Error {
  override name = "CannotStart";
}

/** @throws CannotStart naming every bad variable */
export function readConfigOrLeave(environment: Record<string, string | undefined>): AgentConfig {
  try {
    return readConfig(environment);
  } catch (error) {
    throw new CannotStart(messageOf(error));
  }
}

/** What a host that has joined knows, or what another needs to join. */
export type Found = { identity: Identity } | { token: string };

const folders = {
  DROVER_DATA: "set it to a folder on a disk of this host's own",
  DROVER_RUN: "set it to a folder that a reboot erases, such as one below /run",
} as const;

/** Looks at all that the environment names, and writes nothing.
 *  @throws CannotStart */
export async function lookAround(config: AgentConfig): Promise<Found> {
  const { DROVER_MIGRATION_ADDRESS: address } = config;
  await named("DROVER_MIGRATION_ADDRESS", "set it to this host's own on the migration network", () =>
    requireOwnAddress(address),
  );
  for (const [name, wayOut] of Object.entries(folders)) {
    await named(name, wayOut, () => lookAtFolder(config[name as keyof typeof folders]));
  }
  const identity = await identityOf(config);
  if (identity) return { identity };
  const token = await readToken(config);
  await requireControlPlane(config.DROVER_CONTROL_PLANE);
  return { token };
}

/** Makes the folders, and holds the one that no second agent may work in.
 *  @returns what holds it, to be kept
 *  @throws CannotStart; folders that were made are gone again then */
export async function settleIn(config: AgentConfig): Promise<DatabaseSync> {
  const undo: (() => void)[] = [];
  try {
    for (const [name, wayOut] of Object.entries(folders)) {
      await named(name, wayOut, () => undo.unshift(makeFolder(config[name as keyof typeof folders])));
    }
    const elsewhere = "mount the volume there, or set it to where it is mounted";
    await named("DROVER_SHARED_VOLUME", elsewhere, () => requireWorkingLocks(config.DROVER_SHARED_VOLUME));
    return await named("DROVER_DATA", "stop that one, or give this one a folder of its own", () =>
      holdFolder(config.DROVER_DATA),
    );
  } catch (error) {
    for (const takeBack of undo) takeBack();
    throw error;
  }
}

/** The first start of a host.
 *  @throws CannotStart when the control plane refuses it or cannot be reached */
export async function joinCluster(config: AgentConfig, token: string, facts: HostFacts): Promise<Identity> {
  const { DROVER_CONTROL_PLANE: url, DROVER_CLUSTER: cluster, DROVER_HOST: host, DROVER_DATA: dataFolder } = config;
  try {
    return await join({ url, cluster, host, dataFolder, token, facts, fetch });
  } catch (error) {
    if (error instanceof JoinRefused) {
      if (error.code.startsWith("migration-address-")) {
        throw new CannotStart(`DROVER_MIGRATION_ADDRESS: ${error.message}; set it to one that this host alone has`);
      }
      throw new CannotStart(
        `DROVER_JOIN_TOKEN_FILE: ${error.message}; see DROVER_HOST and DROVER_CLUSTER, and take a new token for this host`,
      );
    }
    throw error;
  }
}

async function named<T>(variable: string, wayOut: string, act: () => T | Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    throw new CannotStart(`${variable}: ${messageOf(error)}; ${wayOut}`);
  }
}

async function identityOf(config: AgentConfig): Promise<Identity | null> {
  const { DROVER_DATA: data, DROVER_CLUSTER: cluster, DROVER_HOST: host } = config;
  try {
    return await loadIdentity(data, cluster, host);
  } catch (error) {
    if (error instanceof BadIdentity) throw new CannotStart(`DROVER_DATA: ${error.message}`);
    throw error;
  }
}

async function readToken(config: AgentConfig): Promise<string> {
  const { DROVER_JOIN_TOKEN_FILE: path, DROVER_CLUSTER: cluster, DROVER_HOST: host } = config;
  if (!path) {
    throw new CannotStart(
      `DROVER_JOIN_TOKEN_FILE is not set, and ${host} has not joined ${cluster} yet: set it to a file with a join token`,
    );
  }
  const wayOut = "set it to a file with a join token";
  return named("DROVER_JOIN_TOKEN_FILE", wayOut, async () => {
    const token = (await readFile(path, "utf8")).trim();
    if (token === "") throw new Error(`${path} is empty`);
    return token;
  });
}

/** A host that has joined goes on without the control plane; one that has not cannot begin. */
function requireControlPlane(url: string): Promise<void> {
  const wayOut = "start it, or set this to its address";
  return named("DROVER_CONTROL_PLANE", wayOut, async () => {
    const { origin } = new URL(url);
    const signal = AbortSignal.timeout(answersWithinMs);
    const response = await fetch(new URL("/v1/health", url).href, { redirect: "error", signal }).catch(
      (error: unknown) => {
        throw new Error(`${origin} cannot be reached, and the first start joins through it (${messageOf(error)})`);
      },
    );
    await response.body?.cancel();
    if (!response.ok) throw new Error(`${origin} answers with status ${response.status}, as no control plane does`);
  });
}
