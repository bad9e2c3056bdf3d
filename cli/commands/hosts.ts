import type { Host } from "../../schemas/host.ts";
import { apiCommand, type Command } from "../command.ts";

const columns = {
  host: (host: Host) => host.host,
  alive: (host: Host) => (host.alive ? "yes" : "no"),
  "migration address": (host: Host) => host.facts.migrationAddress,
  hypervisor: (host: Host) => `${host.facts.hypervisor.kind} ${host.facts.hypervisor.version}`,
  "memory MiB": (host: Host) => String(host.facts.memoryMiB),
  migration: (host: Host) => host.migration ?? "-",
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
      output.show(await api.getHost(cluster, String(values["host"])), columns),
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
