// API keys of operators: the table has their SHA-256 and what they may do, never the key.

import type { Problem } from "../../schemas/problems.ts";
import { sha256Hex } from "../../schemas/signing.ts";
import type { ApiKeyRecord, Scope } from "../domain/records.ts";
import type { Ports } from "../ports/ports.ts";
import { schemaVersion } from "./items.ts";
import { keys } from "./keys.ts";
import { readOne } from "./read.ts";

export const allScopes: Scope[] = ["read", "migrate", "administer"];

/** Makes the key known, unless it is. */
export async function installKey(
  ports: Ports,
  apiKey: string,
  grant: { keyId: string; scopes: Scope[] },
): Promise<void> {
  const place = await readOne<ApiKeyRecord>(ports, keys.apiKey(await sha256Hex(apiKey)));
  if (place.value) return;
  const data = { ...grant, createdAt: ports.clock.nowMs() };
  // A conflict is another instance that starts at the same time with the same key.
  await ports.table.commit([{ kind: "put", key: place.key, expected: "absent", schemaVersion, data }]);
}

export async function authoriseKey(
  ports: Ports,
  authorization: string | undefined,
  scope: Scope,
): Promise<{ kind: "key"; keyId: string } | { kind: "refuse"; problem: Problem }> {
  const refuse = (problem: Problem) => ({ kind: "refuse", problem }) as const;
  if (!authorization) {
    return refuse({ code: "key-missing", detail: 'Send the API key as "Authorization: Bearer <key>".' });
  }
  const apiKey = /^Bearer ([\x21-\x7e]{8,512})$/.exec(authorization)?.[1];
  if (!apiKey) {
    return refuse({ code: "key-unknown", detail: 'The Authorization header must be "Bearer" and one API key.' });
  }
  const { value } = await readOne<ApiKeyRecord>(ports, keys.apiKey(await sha256Hex(apiKey)));
  if (!value) return refuse({ code: "key-unknown", detail: "This API key is not known here; ask for one." });
  if (!value.scopes.includes(scope)) {
    return refuse({ code: "scope-missing", detail: `This needs an API key with the scope "${scope}".` });
  }
  return { kind: "key", keyId: value.keyId };
}
