import type { Migration } from "../../schemas/migration.ts";
import { readChoice, readInteger } from "../arguments.ts";
import { type ApiCall, apiCommand, type Command } from "../command.ts";
import { CommandFailure, exitCodes } from "../exit.ts";
import { followMigration } from "../follow.ts";
import { createProgress } from "../progress.ts";
import { showRounds } from "../rounds.ts";
import { showBytes, showDuration } from "../units.ts";

const duration = (milliseconds: number | null): string => (milliseconds === null ? "-" : showDuration(milliseconds));
const columns = {
  migration: (one: Migration) => one.id,
  vm: (one: Migration) => one.vm,
  from: (one: Migration) => one.source,
  to: (one: Migration) => one.destination,
  phase: (one: Migration) => (one.reason ? `${one.phase} (${one.reason})` : one.phase),
  verdict: (one: Migration) => one.verdict,
  total: (one: Migration) => duration(one.timings.totalMs),
  downtime: (one: Migration) => duration(one.timings.downtimeMs),
  sent: (one: Migration) => showBytes(one.bytes),
};
const fields = {
  migration: columns.migration,
  vm: columns.vm,
  "from, to": (one: Migration) => `${one.source} to ${one.destination}, ${one.mode}`,
  phase: columns.phase,
  verdict: (one: Migration) => `${one.verdict}${one.confirmed ? ", confirmed" : ""}`,
  detail: (one: Migration) => one.detail,
  cancel: (one: Migration) => one.cancel,
  ticket: (one: Migration) => one.ticket,
  "asked for": (one: Migration) => `${one.createdAt} by ${one.requestedBy}`,
  started: (one: Migration) => one.startedAt,
  ended: (one: Migration) => one.endedAt,
  took: ({ timings }: Migration) => {
    const { totalMs, setupMs, precopyMs } = timings;
    if (totalMs === null) return null;
    return `${duration(totalMs)}: set-up ${duration(setupMs)}, pre-copy ${duration(precopyMs)}`;
  },
  downtime: ({ timings: { downtimeMs, loadMs, commitMs } }: Migration) => {
    if (downtimeMs === null) return null;
    return `${duration(downtimeMs)}: the rest sent and loaded ${duration(loadMs)}, the commit ${duration(commitMs)}`;
  },
  "guest's gap": (one: Migration) => (one.guestGapMs === null ? null : duration(one.guestGapMs)),
  sent: (one: Migration) => {
    const how = { true: ", encrypted", false: ", NOT ENCRYPTED", null: "" }[String(one.encrypted)];
    return `${showBytes(one.bytes)}${how}`;
  },
  rounds: ({ rounds, currentRound, roundsLeftOut }: Migration) => {
    const all = currentRound ? [...rounds, currentRound] : rounds;
    if (all.length === 0) return null;
    const leftOut = roundsLeftOut > 0 ? [`${roundsLeftOut} between the first and the newest are left out`] : [];
    return [...showRounds(all).split("\n"), ...leftOut];
  },
};
const waiting = { timeout: "seconds to wait, 1 to 86400 (3600)" };

/** Follows it to its end. Whoever stops watching (Ctrl-C, the timeout) leaves the migration alone. */
async function follow({ api, cluster, values, output }: ApiCall, begun: Migration): Promise<void> {
  const seconds = readInteger("timeout", values["timeout"] as string | undefined, { min: 1, max: 86_400, usual: 3600 });
  const signal = AbortSignal.timeout(seconds * 1000);
  let ended: Migration;
  try {
    ended = await followMigration(api, cluster, begun, createProgress(process.stderr), { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
    throw new CommandFailure(
      `not over after ${seconds} s; it goes on: drover migration watch --migration ${begun.id}`,
      exitCodes.timedOut,
    );
  }
  output.show(ended, columns);
  if (ended.phase === "completed") return;
  throw new CommandFailure(
    `${ended.id} ended ${ended.phase}: ${ended.reason ?? ""}${ended.detail ? `: ${ended.detail}` : ""}`,
  );
}

export const migrationCommands: Command[] = [
  apiCommand({
    name: "migration start",
    summary: "move a running VM to another host",
    example: "drover migration start --vm vm-1 --to host-b --wait",
    needs: ["vm", "to"],
    takes: {
      mode: "live or quick (live)",
      downtime: "longest pause aimed at, in ms, 10 to 60000 (100)",
      ticket: "the change it belongs to",
      ...waiting,
    },
    flags: { wait: "follow it to its end" },
    run: async (call) => {
      const { api, cluster, values, output } = call;
      const downtimeLimitMs = readInteger("downtime", values["downtime"] as string | undefined, {
        min: 10,
        max: 60_000,
        usual: 100,
      });
      const begun = await api.requestMigration(cluster, {
        vm: String(values["vm"]),
        destination: String(values["to"]),
        mode: readChoice("mode", values["mode"] as string | undefined, ["live", "quick"] as const, "live"),
        limits: { downtimeLimitMs, downtimeCeilingMs: Math.max(500, downtimeLimitMs) },
        ...(values["ticket"] ? { ticket: String(values["ticket"]) } : {}),
      });
      if (values["wait"]) await follow(call, begun);
      else output.show(begun, columns);
    },
  }),
  apiCommand({
    name: "migration watch",
    summary: "follow a migration to its end",
    example: "drover migration watch --migration mig_01KB0000000000000000000000",
    needs: ["migration"],
    takes: waiting,
    run: async (call) => follow(call, await call.api.getMigration(call.cluster, String(call.values["migration"]))),
  }),
  apiCommand({
    name: "migration list",
    summary: "the migrations of a cluster, newest first",
    example: "drover migration list --limit 20",
    takes: { limit: "how many, 1 to 100 (20)", cursor: "from an earlier answer: what comes after it" },
    run: async ({ api, cluster, values, output }) => {
      const limit = readInteger("limit", values["limit"] as string | undefined, { min: 1, max: 100, usual: 20 });
      const page = await api.listMigrations(cluster, limit, values["cursor"] as string | undefined);
      output.show(page.items, columns);
      if (page.nextCursor) process.stderr.write(`more: --cursor ${page.nextCursor}\n`);
    },
  }),
  apiCommand({
    name: "migration show",
    summary: "one migration, with its rounds",
    example: "drover migration show --migration mig_01KB0000000000000000000000",
    needs: ["migration"],
    run: async ({ api, cluster, values, output }) =>
      output.showWhole(await api.getMigration(cluster, String(values["migration"])), fields),
  }),
  apiCommand({
    name: "migration cancel",
    summary: "ask that a migration be cancelled; until the switchover it still can be",
    example: "drover migration cancel --migration mig_01KB0000000000000000000000",
    needs: ["migration"],
    run: async ({ api, cluster, values, output }) =>
      output.show(await api.cancelMigration(cluster, String(values["migration"])), columns),
  }),
];
