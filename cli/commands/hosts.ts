import { type Host, lostStatement } from "../../schemas/host.ts";
import { apiCommand, type Command } from "../command.ts";
import { UsageError } from "../exit.ts";
import { alarmLines } from "../units.ts";

const columns = {
  host: (host: Host) => host.host,
  alive: (host: Host) => (host.alive ? "yes" : host.declaredLost ? "declared lost" : "no"),
  "migration address": (host: Host) => host.facts.migrationAddress,
  hypervisor: (host: Host) => `${host.facts.hypervisor.kind} ${host.facts.hypervisor.version}`,
  "memory MiB": (host: Host) => String(host.facts.memoryMiB),
  migration: (host: Host) => host.migration ?? "-",
  alarms: (host: Host) => host.alarms.map(({ code, detail }) => `${code}: ${detail}`).join("; ") || "-",
};

const fields = {
  host: (host: Host) => host.host,
  alive: (host: Host) => `${columns.alive(host)}${host.leaseExpiresAt ? `, lease until ${host.leaseExpiresAt}` : ""}`,
  "declared lost": ({ declaredLost }: Host) =>
    declaredLost ? `${declaredLost.at} by ${declaredLost.by}: ${declaredLost.reason}` : null,
  incarnation: (host: Host) => host.incarnation,
  migration: columns.migration,
  alarms: (host: Host) => alarmLines(host.alarms),
  "migration address": columns["migration address"],
  networks: ({ facts }: Host) =>
    facts.networks.map(
      ({ name, address, prefixLength, linkSpeedMbps }) =>
        `${name} ${address}/${prefixLength}${linkSpeedMbps === null ? "" : `, ${linkSpeedMbps} Mb/s`}`,
    ),
  processors: ({ facts: { cpu } }: Host) => `${cpu.count} x ${cpu.model} (${cpu.vendor})`,
  memory: ({ facts }: Host) => `${facts.memoryMiB} MiB`,
  volumes: ({ facts }: Host) =>
    facts.volumes.map(({ id, path, shared, freeMiB }) => {
      return `${id} at ${path}${shared ? ", shared" : ""}, ${freeMiB} MiB free`;
    }),
  hypervisor: columns.hypervisor,
  agent: ({ facts }: Host) => `${facts.agent.version}, protocol ${facts.agent.protocol}`,
  platform: ({ facts: { platform } }: Host) => `${platform.name} ${platform.version} ${platform.edition}`,
};

export const hostCommands: Command[] = [
  apiCommand({
    name: "cluster create",
    summary: "make a cluster",
    example: "drover cluster create --name paris-1",
    needs: ["name"],
    withoutCluster: true,
    run: async ({ api, values, output }) => {
      const made = await api.createCluster(String(values["name"]));
      output.show(made, { cluster: () => String(values["name"]) });
    },
  }),
  apiCommand({
    name: "cluster show",
    summary: "a cluster, and what it waits for while its table has gone back",
    example: "drover cluster show --cluster paris-1",
    run: async ({ api, cluster, output }) => {
      const shown = await api.getCluster(cluster);
      output.show(shown, {
        cluster: (one) => one.cluster,
        state: (one) => one.recovery?.state ?? "open",
        hosts: (one) => one.hosts.join(", "),
        reported: (one) => one.recovery?.reported.join(", ") || "-",
        awaited: (one) => one.recovery?.awaited.join(", ") || "-",
        lost: (one) => one.recovery?.lost.join(", ") || "-",
      });
      if (shown.recovery) process.stderr.write(`${shown.recovery.detail}\n`);
    },
  }),
  apiCommand({
    name: "host list",
    summary: "the hosts of a cluster",
    example: "drover host list --cluster paris-1",
    run: async ({ api, cluster, output }) => output.show((await api.listHosts(cluster)).items, columns),
  }),
  apiCommand({
    name: "host show",
    summary: "one host and what it says of itself",
    example: "drover host show --host host-a",
    needs: ["host"],
    run: async ({ api, cluster, values, output }) =>
      output.showWhole(await api.getHost(cluster, String(values["host"])), fields),
  }),
  apiCommand({
    name: "host declare-lost",
    summary: "say that a host is off for good, so that its VMs can be started elsewhere",
    example: `drover host declare-lost --host host-a --reason "power cut in rack 7" --statement "${lostStatement}"`,
    notes: [
      "First make sure that the host is off: switch it off, or fence it. One that only lost its network still runs its",
      "guests. From then on nothing counts that this life of the host says, its part in a migration is over, and the",
      "guests it owned are guest-lost; `drover vm force` starts them elsewhere. Refused while the host is heard of.",
      "What to check, and what can be lost in each case: docs/lost-host.md",
    ],
    needs: ["host", "reason", "statement"],
    meant: { reason: '"WHY", for the record', statement: `"${lostStatement}"  (to the letter)` },
    takes: { incarnation: "the one that has ended (the host's latest)" },
    run: async ({ api, cluster, values, output }) => {
      const host = String(values["host"]);
      const statement = String(values["statement"]);
      if (statement !== lostStatement) {
        throw new UsageError(
          `--statement is to be, to the letter: "${lostStatement}". Make sure of it first: switch the host off, or fence it.`,
        );
      }
      const given = values["incarnation"] as string | undefined;
      const incarnation = given ?? (await api.getHost(cluster, host)).incarnation;
      if (!incarnation) throw new UsageError(`host ${host} has never been heard of: there is nothing to lose`);
      const loss = { incarnation, reason: String(values["reason"]), statement: lostStatement } as const;
      output.show(await api.declareHostLost(cluster, host, loss), columns);
    },
  }),
  apiCommand({
    name: "host invite",
    summary: "a one-time token with which a host joins",
    example: "drover host invite --host host-c > join-token",
    needs: ["host"],
    run: async ({ api, cluster, values }) => {
      const { token, expiresAt } = await api.createJoinToken(cluster, String(values["host"]));
      process.stderr.write(`valid until ${expiresAt}, once\n`);
      process.stdout.write(`${token}\n`);
    },
  }),
];
