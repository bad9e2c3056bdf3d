// How a host becomes known: a key pair made here, a one-time token, and in return a certificate and the key that the
// control plane signs with. Kept in `<data>/identity.json`, readable by its owner only.
import { existsSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { join as joinPath } from "node:path";
import { z } from "zod";
import { HostCertificate, JoinAnswer, type JoinRequest } from "../../schemas/agent.ts";
import type { HostFacts } from "../../schemas/host.ts";
import { ClusterId, HostId } from "../../schemas/ids.ts";
import { ProblemDetails } from "../../schemas/problems.ts";
import { makeKeyPair, openDocument, verifierFrom } from "../../schemas/signing.ts";
import { durable } from "../durable-step.ts";
import { writeDurably } from "./durable-file.ts";
import type { Fetch } from "./signed-requests.ts";

const KeyPair = z.strictObject({ privateKey: z.string(), publicKey: z.string() });

const IdentityFile = z.strictObject({
  cluster: ClusterId,
  host: HostId,
  keys: KeyPair,
  /** Null between making the keys and the control plane's answer: a lost answer is asked for again with the same key. */
  joined: JoinAnswer.nullable(),
});

export type Identity = {
  cluster: string;
  host: string;
  /** PKCS #8, base64url. Stays in this process and in the identity file. */
  privateKey: string;
  /** Raw, base64url. */
  publicKey: string;
  certificate: JoinAnswer["certificate"];
  /** The control plane's Ed25519 key, raw, base64url. */
  verificationKey: string;
  doorbell: JoinAnswer["doorbell"];
  tableId: string;
};

/** Refused by the control plane, by a code. */
export class JoinRefused extends Error {
  override name = "JoinRefused";
  readonly code: string;
  constructor(code: string, detail: string) {
    super(`joining was refused (${code}): ${detail}`);
    this.code = code;
  }
}

/** The data folder's identity is of no use to this host. */
export class BadIdentity extends Error {
  override name = "BadIdentity";
}

export type JoinOptions = {
  url: string;
  cluster: string;
  host: string;
  dataFolder: string;
  token: string;
  facts: HostFacts;
  fetch: Fetch;
};

/** The identity of a host that has joined; null before that.
 *  @throws BadIdentity when the file is damaged, unreadable or another host's, or gone: the message names it */
export async function loadIdentity(dataFolder: string, cluster: string, host: string): Promise<Identity | null> {
  const file = await readIdentityFile(dataFolder, cluster, host);
  // A new host that was told more than the table knows of it would stop the whole cluster.
  if (!file && existsSync(joinPath(dataFolder, counterName))) {
    throw new BadIdentity(
      `${dataFolder} was a host's that has joined, and its identity file is gone; restore it, or join anew ` +
        "under another name with an empty folder",
    );
  }
  return file?.joined ? identityFrom(file, file.joined) : null;
}

/** Joins, or answers the identity that is there already. Asking again after a lost answer is safe.
 *  @throws JoinRefused when the control plane says no; any other error when it cannot be reached */
export async function join(options: JoinOptions): Promise<Identity> {
  const { url, cluster, host, dataFolder, token, facts, fetch } = options;
  const found = await readIdentityFile(dataFolder, cluster, host);
  if (found?.joined) return identityFrom(found, found.joined);

  const file = found ?? { cluster, host, keys: await makeKeyPair(), joined: null };
  if (!found) await durable("identity:keys-made", () => writeIdentityFile(dataFolder, file));

  const request: JoinRequest = { token, host, publicKey: file.keys.publicKey, facts };
  const response = await fetch(new URL("/v1/join", url).href, {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(request),
    redirect: "error",
    signal: AbortSignal.timeout(10_000),
  });
  const body: unknown = await response.json();
  if (!response.ok) {
    const problem = ProblemDetails.safeParse(body);
    if (problem.success && response.status < 500) throw new JoinRefused(problem.data.code, problem.data.detail);
    throw new Error(`joining: the control plane answered with status ${response.status}`);
  }
  const joined = JoinAnswer.parse(body);
  await checkAnswer(joined, file);
  await durable("identity:joined", () => writeIdentityFile(dataFolder, { ...file, joined }));
  return identityFrom(file, joined);
}

async function checkAnswer(joined: JoinAnswer, file: z.infer<typeof IdentityFile>): Promise<void> {
  const certificate = await openDocument(
    joined.certificate,
    HostCertificate,
    await verifierFrom(joined.verificationKey),
  );
  const isOurs =
    certificate !== null &&
    certificate.clusterId === file.cluster &&
    certificate.hostId === file.host &&
    certificate.publicKey === file.keys.publicKey &&
    joined.cluster === file.cluster &&
    joined.host === file.host;
  if (!isOurs) {
    throw new Error(
      `joining: the certificate is not for ${file.host} of ${file.cluster}; check DROVER_CLUSTER and the token`,
    );
  }
}

function identityFrom(file: z.infer<typeof IdentityFile>, joined: JoinAnswer): Identity {
  const { certificate, verificationKey, doorbell, tableId } = joined;
  return { cluster: file.cluster, host: file.host, ...file.keys, certificate, verificationKey, doorbell, tableId };
}

/** In the data folder as well (agents/adapters/counter-file.ts): that host has joined. */
export const counterName = "acknowledged";

const pathIn = (dataFolder: string) => joinPath(dataFolder, "identity.json");

async function readIdentityFile(dataFolder: string, cluster: string, host: string) {
  const path = pathIn(dataFolder);
  let text: string;
  try {
    text = await readFile(path, "utf8");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return null;
    throw new BadIdentity(`the identity file ${path} cannot be read (${(error as NodeJS.ErrnoException).code})`);
  }
  let parsed: ReturnType<typeof IdentityFile.safeParse> | null = null;
  try {
    parsed = IdentityFile.safeParse(JSON.parse(text));
  } catch {
    // Not JSON. The text holds a private key, so it is in no message.
  }
  if (!parsed?.success)
    throw new BadIdentity(
      `the identity file ${path} is damaged; restore it, or join anew under another name with an empty folder`,
    );
  if (parsed.data.cluster !== cluster || parsed.data.host !== host) {
    throw new BadIdentity(
      `${path} is the identity of ${parsed.data.host} of ${parsed.data.cluster}, not of ${host} of ${cluster}; ` +
        "set DROVER_HOST and DROVER_CLUSTER to those, or DROVER_DATA to the folder of this host",
    );
  }
  return parsed.data;
}

function writeIdentityFile(dataFolder: string, file: z.infer<typeof IdentityFile>): Promise<void> {
  return writeDurably(pathIn(dataFolder), `${JSON.stringify(file, null, 2)}\n`, 0o600);
}
