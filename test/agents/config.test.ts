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
});
