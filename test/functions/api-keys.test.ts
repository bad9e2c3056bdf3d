// API keys: made with scopes, shown once, listed without their secret, revoked at once.
import assert from "node:assert/strict";
import { test } from "node:test";
import { installBootstrapKey } from "../../functions/operations/api-keys.ts";
import { listUnsequencedEvents } from "../../functions/operations/events.ts";
import { dump, makeCluster } from "./support/world.ts";

const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

test("a key is made with its scopes, its secret shown once and never stored, and opens nothing once revoked", async () => {
  const world = await makeCluster([]);
  const wanted = { name: "alertmanager", scopes: ["migrate", "read"] };
  const { status, body: made } = await world.request("POST", "/v1/keys", wanted);
  assert.equal(status, 201);
  assert.deepEqual([made.name, made.scopes, made.createdBy], ["alertmanager", ["read", "migrate"], "ops"]);
  assert.equal((await world.request("GET", "/vms", undefined, bearer(made.key))).status, 200);
  assert.equal((await world.request("POST", "/v1/keys", wanted, bearer(made.key))).body.code, "scope-missing");
  assert.equal((await world.request("GET", "/v1/keys", undefined, bearer(made.key))).body.code, "scope-missing");
  const { body: listed } = await world.request("GET", "/v1/keys");
  const { key, ...shown } = made;
  assert.deepEqual(
    listed.items.find((item: { id: string }) => item.id === made.id),
    shown,
  );
  assert.ok(!JSON.stringify([listed, dump(world.table)]).includes(key));

  assert.equal((await world.request("DELETE", `/v1/keys/${made.id}`)).status, 200);
  assert.equal((await world.request("GET", "/vms", undefined, bearer(made.key))).body.code, "key-unknown");
  assert.equal((await world.request("DELETE", `/v1/keys/${made.id}`)).body.code, "api-key-unknown");
  assert.equal((await world.request("DELETE", "/v1/keys/a%20b")).body.code, "api-key-unknown");
  const { events } = await listUnsequencedEvents(world.ports, null, { limit: 10 });
  assert.deepEqual(
    events.map(({ event }) => [event.kind, event.subject.id, event.by, event.cluster]),
    [
      ["key-created", made.id, "key/ops", null],
      ["key-revoked", made.id, "key/ops", null],
    ],
  );
});

test("a key asked for twice under one idempotency key is one key", async () => {
  const world = await makeCluster([]);
  const ask = () =>
    world.request("POST", "/v1/keys", { name: "ci", scopes: ["read"] }, { "idempotency-key": "ci-key" });
  const [first, second] = [await ask(), await ask()];
  assert.deepEqual(second.body, first.body);
  assert.equal((await world.request("GET", "/v1/keys")).body.items.length, 2);
  for (const wrong of [
    { name: "x", scopes: [] },
    { name: "x", scopes: ["all"] },
    { name: "", scopes: ["read"] },
    { name: "red \u001b[31m", scopes: ["read"] },
  ]) {
    assert.equal((await world.request("POST", "/v1/keys", wrong)).body.code, "invalid-request");
  }
});

test("a bootstrap key whose file changed replaces the one before", async () => {
  const world = await makeCluster([]);
  const status = async (key: string) => (await world.request("GET", "/vms", undefined, bearer(key))).status;
  const [first, second] = ["drover_first_0123456789", "drover_second_0123456789"] as const;
  await installBootstrapKey(world.ports, first);
  assert.equal(await status(first), 200);
  await installBootstrapKey(world.ports, second);
  await installBootstrapKey(world.ports, second);
  assert.deepEqual([await status(first), await status(second)], [401, 200]);
});

test("a key for forcing alone does that and nothing else", async () => {
  const world = await makeCluster([]);
  const { body: made } = await world.request("POST", "/v1/keys", { name: "night shift", scopes: ["force"] });
  assert.deepEqual(made.scopes, ["force"]);
  const asked = { reason: "power is off", action: { kind: "take-back" } };
  const force = await world.request("POST", "/vms/vm-1/force", asked, bearer(made.key));
  assert.equal(force.body.code, "vm-unknown", "it got past the scope");
  assert.equal((await world.request("GET", "/vms", undefined, bearer(made.key))).body.code, "scope-missing");
});

test("the last key that may administer cannot be revoked, nor can the last two revoke each other", async () => {
  const world = await makeCluster([]);
  const refused = await world.request("DELETE", "/v1/keys/ops");
  assert.deepEqual([refused.status, refused.body.code], [409, "last-administering-key"]);
  const make = async (name: string) =>
    (await world.request("POST", "/v1/keys", { name, scopes: ["administer"] })).body as { id: string; key: string };
  await world.request("POST", "/v1/keys", { name: "reader", scopes: ["read"] });
  const other = await make("other");
  const both = await Promise.all([
    world.request("DELETE", "/v1/keys/ops", undefined, bearer(other.key)),
    world.request("DELETE", `/v1/keys/${other.id}`),
  ]);
  assert.deepEqual(both.map(({ status }) => status).sort(), [200, 409]);
});
