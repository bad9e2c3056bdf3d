// API keys of operators: the table has their SHA-256 and what they may do, never the key.

import { allScopes, type Scope } from "../../schemas/api-key.ts";
import type { Problem } from "../../schemas/problems.ts";
import { sha256Hex, toBase64Url } from "../../schemas/signing.ts";
import type { ApiKeyRecord } from "../domain/records.ts";
import type { Ports } from "../ports/ports.ts";
import { type Place, schemaVersion } from "./items.ts";
import { keys, keysPartition } from "./keys.ts";
import { type Operator, type Outcome, operate } from "./operate.ts";
import { readAll, readOne } from "./read.ts";
import { refuse } from "./refusals.ts";
import { commitStep } from "./retry.ts";
import { instantText } from "./views.ts";

/** Makes the key known, unless it is. */
export async function installKey(
  ports: Ports,
  apiKey: string,
  grant: { keyId: string; scopes: readonly Scope[] },
): Promise<void> {
  const place = await readOne<ApiKeyRecord>(ports, keys.apiKey(await sha256Hex(apiKey)));
  if (place.value) return;
  const data = { ...grant, scopes: [...grant.scopes], createdAt: ports.clock.nowMs() };
  // A conflict is another instance that starts at the same time with the same key.
  await commitStep(ports, "key-installed", [{ kind: "put", key: place.key, expected: "absent", schemaVersion, data }]);
}

const bootstrapId = "bootstrap";

/** Makes the deployment's first key known; one that its file held before is known no more. */
export async function installBootstrapKey(ports: Ports, apiKey: string): Promise<void> {
  await installKey(ports, apiKey, { keyId: bootstrapId, scopes: allScopes });
  const hash = await sha256Hex(apiKey);
  const all = await readAll<ApiKeyRecord>(ports, keysPartition);
  const former = all.filter(({ key, value }) => value.keyId === bootstrapId && key.sort !== hash);
  for (const { key, revision } of former) {
    await commitStep(ports, "key-replaced", [{ kind: "delete", key, expected: revision }]);
  }
}

/** The secret is worked out from the operation with the signing key, so that a repeated request gets the same one
 *  although the table never sees it. */
export async function createKey(
  ports: Ports,
  operator: Operator,
  request: { name: string; scopes: Scope[] },
): Promise<Outcome> {
  const operationId = operator.idempotencyKey ?? ports.newId();
  const seed = ["drover-api-key-1", operator.keyId, operationId].join("\n");
  const secret = `drover_${toBase64Url(await ports.signing.sign(new TextEncoder().encode(seed)))}`;
  const hash = await sha256Hex(secret);
  const keyId = `key_${ports.newId()}`;
  const outcome = await operate(ports, operator, null, async (batch, at) => {
    const place: Place<ApiKeyRecord> = await readOne(ports, keys.apiKey(hash));
    const scopes = allScopes.filter((scope) => request.scopes.includes(scope));
    const record: ApiKeyRecord = { keyId, name: request.name, scopes, createdAt: at, createdBy: operator.keyId };
    batch.put(place, record);
    const data = { name: request.name, scopes: scopes.join(" ") };
    batch.event({ kind: "key-created", subject: { kind: "key", id: keyId }, data }, place);
    return { kind: "accept", batch, answer: { status: 201, body: viewKey(record) } };
  });
  if (outcome.kind === "refuse") return outcome;
  return { kind: "answer", answer: { ...outcome.answer, body: { key: secret, ...outcome.answer.body } } };
}

export async function listKeys(ports: Ports) {
  return (await readAll<ApiKeyRecord>(ports, keysPartition)).map(({ value }) => viewKey(value));
}

/** From then on it opens nothing. The bootstrap key comes back with the next start, unless its file holds another. */
export function revokeKey(ports: Ports, operator: Operator, keyId: string): Promise<Outcome> {
  return operate(ports, operator, null, async (batch) => {
    const all = await readAll<ApiKeyRecord>(ports, keysPartition);
    const place = all.find(({ value }) => value.keyId === keyId);
    if (!place) return refuse({ code: "api-key-unknown", detail: `There is no API key ${keyId}.` });
    if (place.value.scopes.includes("administer")) {
      const another = all.find((each) => each !== place && each.value.scopes.includes("administer"));
      if (!another) return refuse(lastAdministeringKey(keyId));
      batch.check(another); // Two requests at once must not each rely on the key that the other revokes.
    }
    batch.remove(place);
    batch.event({ kind: "key-revoked", subject: { kind: "key", id: keyId }, data: {} }, place);
    return { kind: "accept", batch, answer: { status: 200, body: viewKey(place.value) } };
  });
}

function lastAdministeringKey(keyId: string): Problem {
  const detail =
    `API key ${keyId} is the only one with the scope "administer": without it nobody could make another key. ` +
    "Make one with that scope first (POST /v1/keys).";
  return { code: "last-administering-key", detail };
}

function viewKey({ keyId, name, scopes, createdAt, createdBy }: ApiKeyRecord) {
  return {
    id: keyId,
    name: name ?? keyId,
    scopes,
    createdAt: instantText(createdAt),
    createdBy: createdBy ?? null,
  };
}

export async function authoriseKey(
  ports: Ports,
  authorization: string | undefined,
  scope: Scope,
): Promise<{ kind: "key"; keyId: string } | { kind: "refuse"; problem: Problem }> {
  if (!authorization) {
    return refuse({ code: "key-missing", detail: 'Send the API key as "Authorization: Bearer <key>".' });
  }
  const apiKey = /^Bearer ([\x21-\x7e]{8,512})$/.exec(authorization)?.[1];
  if (!apiKey) {
    return refuse({ code: "key-unknown", detail: 'The Authorization header must be "Bearer" and one API key.' });
  }
  const { value } = await readOne<ApiKeyRecord>(ports, keys.apiKey(await sha256Hex(apiKey)));
  if (!value)
    return refuse({
      code: "key-unknown",
      detail:
        'This API key is not known here: it was mistyped, revoked, or is of another deployment. Whoever has a key with the scope "administer" can make another (POST /v1/keys).',
    });
  if (!value.scopes.includes(scope)) {
    return refuse({ code: "scope-missing", detail: `This needs an API key with the scope "${scope}".` });
  }
  return { kind: "key", keyId: value.keyId };
}
