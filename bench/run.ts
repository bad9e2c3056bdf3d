// npm run bench: what it takes to move a guest, measured on this machine. A report, never a test.
//   npm run bench
//   npm run bench -- --migrations 10 --memory 64 --dirty 40 --pause 500
//   npm run bench -- --write      also writes docs/bench.md
import { writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { readArguments, readInteger } from "../cli/arguments.ts";
import { startCluster } from "../cli/cluster/cluster.ts";
import { UsageError } from "../cli/exit.ts";
import { awaitInterrupt } from "../cli/interrupt.ts";
import { type MeasureOptions, measure } from "./measure.ts";
import { writeBenchReport } from "./report.ts";

const page = join(dirname(dirname(fileURLToPath(import.meta.url))), "docs", "bench.md");

function readOptions(): MeasureOptions & { write: boolean } {
  const text = { type: "string" } as const;
  const { values } = readArguments(process.argv.slice(2), {
    migrations: text,
    memory: text,
    dirty: text,
    pause: text,
    write: { type: "boolean", default: false },
  });
  return {
    moves: readInteger("migrations", values.migrations, { min: 1, max: 10_000, usual: 50 }),
    memoryMiB: readInteger("memory", values.memory, { min: 16, max: 1024, usual: 128 }),
    dirtyMiBPerSecond: readInteger("dirty", values.dirty, { min: 0, max: 400, usual: 10 }),
    pauseMs: readInteger("pause", values.pause, { min: 0, max: 60_000, usual: 5000 }),
    warmUp: 2,
    write: values.write === true,
  };
}

const say = (line: string): void => void process.stderr.write(`${line}\n`);

async function main(): Promise<void> {
  const options = readOptions();
  const interrupt = awaitInterrupt();
  const start = startCluster({
    hosts: 2,
    table: "sqlite",
    doorbell: "embedded",
    guestMemoryMiB: options.memoryMiB * 2,
    heartbeatMs: 1000,
    onStep: say,
  });
  const cluster = await Promise.race([start, interrupt.promise]);
  try {
    const measuring = measure(cluster, options, ({ migration, postToRunningMs }, index) => {
      const { totalMs, downtimeMs, precopyMs } = migration.timings;
      say(
        `move ${index + 1} of ${options.moves}: total ${totalMs?.toFixed(0)} ms, downtime ${downtimeMs?.toFixed(1)} ms, ` +
          `POST to running less pre-copy ${(postToRunningMs - (precopyMs ?? 0)).toFixed(0)} ms`,
      );
    });
    const measured = await Promise.race([measuring, cluster.broken, interrupt.promise]);
    const { hypervisor } = (await cluster.api.getHost(cluster.name, cluster.hosts[0] ?? "")).facts;
    const report = writeBenchReport(measured, options, {
      node: process.version,
      hypervisor: `${hypervisor.kind} hypervisor (${hypervisor.version})`,
    });
    process.stdout.write(report);
    if (options.write) writeFileSync(page, report);
    if (measured.memoryErrors > 0 || !measured.bootIdUnchanged) throw new Error("the guest did not come through whole");
  } catch (error) {
    if (!interrupt.signal.aborted) say(await cluster.logTails());
    throw error;
  } finally {
    await cluster.stop();
    interrupt.dispose();
  }
}

try {
  await main();
  process.exit(0);
} catch (error) {
  say(`bench: ${error instanceof Error ? error.message : String(error)}`);
  process.exit(error instanceof UsageError ? 2 : 1);
}
