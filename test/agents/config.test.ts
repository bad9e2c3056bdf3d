import assert from "node:assert/strict";
import { test } from "node:test";
import { readConfig } from "../../agents/config.ts";

const good = {
  DROVER_CONTROL_PLANE: "http://127.0.0.1:8080",
  DROVER_CLUSTER: "demo",
  DROVER_HOST: "host-a",
  DROVER_DATA: "/data",
  DROVER_RUN: "/run/drover",
  DROVER_SHARED_VOLUME: "/shared",
  DROVER_MIGRATION_ADDRESS: "127.0.0.11",
};

test("a complete environment is taken, with its defaults", () => {
  const config = readConfig(good);
  assert.equal(config.DROVER_PEER_PORT, 7420);
  assert.equal(config.DROVER_HYPERVISOR, "embedded");
});

test("every bad variable is named, with what it may be", () => {
  assert.throws(() => readConfig({}), /DROVER_CONTROL_PLANE is not set.*\n.*DROVER_CLUSTER is not set/);
  assert.throws(() => readConfig({ ...good, DROVER_PEER_PORT: "99999" }), /DROVER_PEER_PORT: .*1 to 65535/);
  assert.throws(() => readConfig({ ...good, DROVER_MIGRATION_ADDRESS: "host-a" }), /DROVER_MIGRATION_ADDRESS/);
  assert.throws(() => readConfig({ ...good, DROVER_DATA: "data" }), /DROVER_DATA: an absolute path/);
  assert.throws(() => readConfig({ ...good, DROVER_HOST: "Host A" }), /DROVER_HOST/);
  for (const address of ["https://me:hunter2@drover.example", "https://hunter2@drover.example"]) {
    assert.throws(
      () => readConfig({ ...good, DROVER_CONTROL_PLANE: address }),
      ({ message }: Error) =>
        /^DROVER_CONTROL_PLANE: .*no name and no password/.test(message) && !/hunter2/.test(message),
    );
  }
  for (const address of ["nowhere", "ftp://drover.example", ""]) {
    assert.throws(() => readConfig({ ...good, DROVER_CONTROL_PLANE: address }), /^Error: DROVER_CONTROL_PLANE: /);
  }
});

test("a migration address that would mean every network is refused by name, however it is written", () => {
  for (const address of ["0.0.0.0", "::", "0:0:0:0:0:0:0:0", "::ffff:0.0.0.0"]) {
    const environment = { ...good, DROVER_MIGRATION_ADDRESS: address };
    assert.throws(() => readConfig(environment), /DROVER_MIGRATION_ADDRESS: would listen on every network/);
  }
});

test("a migration address is kept in the one spelling that the system gives it", () => {
  const config = readConfig({ ...good, DROVER_MIGRATION_ADDRESS: "FD00:0:0::000A" });
  assert.equal(config.DROVER_MIGRATION_ADDRESS, "fd00::a");
});
