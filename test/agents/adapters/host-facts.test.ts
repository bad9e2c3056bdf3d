import assert from "node:assert/strict";
import { readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { readHostFacts } from "../../../agents/adapters/host-facts.ts";
import { readIncarnation } from "../../../agents/adapters/incarnation.ts";
import { HostFacts } from "../../../schemas/host.ts";
import { temporaryFolder } from "../../support/temporary-folder.ts";

test("a host tells its facts within the schema's bounds", async () => {
  const folder = await temporaryFolder();
  try {
    const facts = await readHostFacts({
      hypervisor: { version: async () => ({ kind: "simulated", version: "1" }) },
      agentVersion: "0.1.0",
      migrationAddress: "127.0.0.11",
      volumes: [{ id: "shared", path: folder.path, shared: true }],
      guestMemoryMiB: 512,
    });
    assert.deepEqual(HostFacts.parse(facts), facts);
    assert.equal(facts.memoryMiB, 512);
    assert.ok(facts.networks.some(({ address, prefixLength }) => address === "127.0.0.1" && prefixLength === 8));
    assert.ok(facts.cpu.count >= 1 && facts.cpu.vendor !== "" && facts.platform.name !== "");
    assert.ok((facts.volumes[0]?.freeMiB ?? 0) >= 0);
  } finally {
    await folder.remove();
  }
});

const bare = {
  hypervisor: { version: async () => ({ kind: "simulated", version: "1" }) },
  agentVersion: "0.1.0",
  migrationAddress: "127.0.0.11",
  guestMemoryMiB: null,
};

test("a volume that cannot be reached has nothing free, and the other facts are told", async () => {
  const folder = await temporaryFolder();
  try {
    const volumes = [
      { id: "shared", path: join(folder.path, "not-mounted"), shared: true },
      { id: "own", path: folder.path, shared: false },
    ];
    const facts = await readHostFacts({ ...bare, volumes });
    assert.equal(facts.volumes[0]?.freeMiB, 0);
    assert.ok((facts.volumes[1]?.freeMiB ?? 0) > 0);
    assert.deepEqual(HostFacts.parse(facts), facts);
  } finally {
    await folder.remove();
  }
});

test("a volume that does not answer holds nothing up: what it last had is told, and it is asked once only", async () => {
  const volumes = [{ id: "shared", path: "/hung", shared: true }];
  const first = await readHostFacts({ ...bare, volumes, readFreeMiB: async () => 77 });
  assert.equal(first.volumes[0]?.freeMiB, 77);
  let asked = 0;
  const readFreeMiB = (): Promise<number> => {
    asked++;
    return new Promise(() => {});
  };
  for (let time = 0; time < 2; time++) {
    const facts = await readHostFacts({ ...bare, volumes, readFreeMiB });
    assert.equal(facts.volumes[0]?.freeMiB, 77);
  }
  assert.equal(asked, 1);
});

test("an incarnation stays for as long as its folder, is another one after that, and a damaged one is refused", async () => {
  const folder = await temporaryFolder();
  try {
    const run = join(folder.path, "run");
    const first = readIncarnation(run);
    assert.match(first, /^[0-9a-f]{32}$/);
    assert.equal(readIncarnation(run), first);
    assert.deepEqual(await readdir(run), ["incarnation"]);
    assert.equal((await stat(join(run, "incarnation"))).mode & 0o077, 0);
    assert.notEqual(readIncarnation(join(folder.path, "after-reboot")), first);
    await writeFile(join(run, "incarnation"), "");
    assert.throws(() => readIncarnation(run), /incarnation is damaged/);
  } finally {
    await folder.remove();
  }
});
