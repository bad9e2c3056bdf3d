// What runs Drover on this machine. `drover up`: a whole Drover on loopback that stays until Ctrl-C. `drover agent`: one host's agent, in this process.
import { readArguments, readChoice, readInteger } from "../arguments.ts";
import { doorbellKinds, tableKinds } from "../cluster/kinds.ts";
import type { Command } from "../command.ts";
import { demoHelp, readDemoOptions } from "../demo/options.ts";
import { UsageError } from "../exit.ts";
import { awaitInterrupt } from "../interrupt.ts";
import { whenUnread } from "../unread.ts";

export const demoCommand: Command = {
  name: "demo",
  summary: "watch a running guest move between hosts",
  help: demoHelp,
  run: async (args) => {
    const options = readDemoOptions(args);
    const { demo } = await import("../demo/demo.ts");
    await demo(options);
  },
};

export const upCommand: Command = {
  name: "up",
  summary: "start a control plane and hosts on this machine, until Ctrl-C",
  help: `drover up: a control plane and hosts on this machine, on loopback, until Ctrl-C. Nothing is kept afterwards. An
agent or a control plane that ends meanwhile is started again, up to four times within a minute.

  drover up
  drover up --hosts 4 --port 8080

  --hosts N         2 to 16 (2)
  --port N          of the control plane, 0 to 65535 (0 takes a free one)
  --memory MiB      what guests may take of each host, 64 to 65536 (1024)
  --table KIND      sqlite or dynamodb (sqlite)
  --doorbell KIND   embedded or sqs (embedded)`,
  run: async (args) => {
    const text = { type: "string" } as const;
    const { values } = readArguments(args, { hosts: text, port: text, memory: text, table: text, doorbell: text });
    const options = {
      hosts: readInteger("hosts", values.hosts, { min: 2, max: 16, usual: 2 }),
      port: readInteger("port", values.port, { min: 0, max: 65_535, usual: 0 }),
      guestMemoryMiB: readInteger("memory", values.memory, { min: 64, max: 65_536, usual: 1024 }),
      table: readChoice("table", values.table, tableKinds, "sqlite"),
      doorbell: readChoice("doorbell", values.doorbell, doorbellKinds, "embedded"),
    };
    const { startCluster } = await import("../cluster/cluster.ts");
    const { tellAccess } = await import("../cluster/access.ts");
    const interrupt = awaitInterrupt();
    const onStep = (step: string) => process.stderr.write(`${step}\n`);
    const cluster = await Promise.race([startCluster({ ...options, onStep }), interrupt.promise]);
    try {
      cluster.keepUp(onStep);
      tellAccess(cluster, process.stdout);
      await Promise.race([interrupt.promise, cluster.broken]);
    } catch (error) {
      if (interrupt.wasAsked()) return;
      if (interrupt.signal.aborted) throw error;
      process.stderr.write(`${await cluster.logTails()}\n`);
      throw error;
    } finally {
      await cluster.stop();
      interrupt.dispose();
    }
  },
};

export const agentCommand: Command = {
  name: "agent",
  summary: "run the agent of one host",
  help: `drover agent: the agent of one host, until SIGTERM; its guests live on.

  DROVER_CONTROL_PLANE=https://drover.example DROVER_CLUSTER=paris-1 DROVER_HOST=host-a \\
  DROVER_DATA=/var/lib/drover DROVER_RUN=/run/drover DROVER_SHARED_VOLUME=/srv/volume \\
  DROVER_MIGRATION_ADDRESS=10.9.0.11 DROVER_JOIN_TOKEN_FILE=/run/join-token drover agent`,
  run: async (args) => {
    if (args.length > 0) throw new UsageError("drover agent takes no arguments: it reads its environment");
    whenUnread(() => {}); // The agent goes on without its log.
    await import("../../agents/main.ts");
    // The agent ends this process itself.
    await new Promise(() => {});
  },
};
