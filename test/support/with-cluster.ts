import assert from "node:assert/strict";
import { type ClusterOptions, startCluster, type TestCluster } from "./cluster.ts";

/** A cluster for one test: taken down afterwards, and no guest may have been run as it must never be. */
export async function withCluster(
  options: ClusterOptions,
  body: (cluster: TestCluster) => Promise<void>,
): Promise<void> {
  const cluster = await startCluster(options);
  try {
    await body(cluster);
    assert.deepEqual(cluster.faults, [], "a guest executed twice, from old memory, or with damaged memory");
  } finally {
    await cluster.stop();
  }
}
