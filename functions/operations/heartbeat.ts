// A heartbeat renews the host's lease and tells whether there is something new to do, which makes lost rings harmless.
import { type HeartbeatAnswer, type HeartbeatRequest, onlyPage } from "../../schemas/agent.ts";
import type { Problem } from "../../schemas/problems.ts";
import type { GuestReports, HostFactsRecord } from "../domain/records.ts";
import { afterHeartbeat, hostTrouble, isAlive } from "../domain/session.ts";
import type { Ports } from "../ports/ports.ts";
import { addressKey, checkAddress, takeAddress } from "./addresses.ts";
import { admitNext } from "./admit-next.ts";
import { type AgentCall, type AgentOutcome, answerAgent, batchOf } from "./agent-call.ts";
import { keys } from "./keys.ts";
import { reopen } from "./reopen.ts";

export function heartbeat(
  ports: Ports,
  call: AgentCall,
  request: HeartbeatRequest | Problem,
): Promise<AgentOutcome<HeartbeatAnswer>> {
  const invalid = "code" in request ? request : request.facts ? checkAddress(request.facts.migrationAddress) : null;
  const {
    facts,
    page,
    guests,
    alarms = [],
    hostAlarms = [],
  } = "code" in request ? { facts: undefined, page: onlyPage, guests: [] } : request;
  const factsKey = keys.facts(call.clusterId, call.hostId);
  const guestsKey = keys.guests(call.clusterId, call.hostId, page);
  return answerAgent<HeartbeatAnswer>(ports, call, {
    manner: "heartbeat",
    invalid,
    read: { keys: [...(facts ? [factsKey, addressKey(call.clusterId, { facts })] : []), guestsKey] },
    async decide(found, session) {
      const batch = batchOf(found);
      const subject = { kind: "host", id: call.hostId } as const;
      const { settings } = ports;
      const next = afterHeartbeat(session, call, {
        at: found.now,
        leaseMs: settings.leaseMs,
        alarms: hostAlarms,
      });
      const incarnation = found.at<{ number: number; at: number }>(
        keys.incarnation(call.clusterId, call.hostId, call.incarnation),
      );
      if (incarnation.value === null) {
        batch.put(incarnation, { number: next.incarnationNumber, at: found.now });
        const data = { incarnation: call.incarnation, number: next.incarnationNumber };
        batch.event({ kind: "host-incarnated", subject, data }, incarnation);
      }
      if (facts) {
        const place = found.at<HostFactsRecord>(factsKey);
        const problem = await takeAddress(batch, call, { facts }, place.value, async (key) => {
          await found.also([key]);
          return found.at(key);
        });
        if (problem) return { kind: "refuse", problem };
        const revision = batch.put(place, { facts });
        if (revision !== place.revision) batch.event({ kind: "host-facts-changed", subject, data: {} }, place);
      }
      const told = found.at<GuestReports>(guestsKey);
      const stood = told.value?.alarms ?? {};
      const hadSaid = Object.keys({ ...told.value?.reports, ...stood }).length > 0;
      if (guests.length > 0 || alarms.length > 0 || hadSaid) {
        const seen: GuestReports = { at: found.now, reports: {}, alarms: {} };
        for (const { vm, copyId, report } of guests) seen.reports[copyId] = { vmId: vm, report };
        for (const { copyId, code, detail, standsForMs = 0 } of alarms) {
          const before = [stood[copyId] ?? []].flat().find((alarm) => alarm.code === code);
          const since = before?.since ?? found.now - standsForMs;
          seen.alarms[copyId] = [...[seen.alarms[copyId] ?? []].flat(), { code, detail, since }];
        }
        batch.put<GuestReports>(told, seen);
      }
      const wasFit = isAlive(session, found.now) && hostTrouble(session) === null;
      return {
        kind: "accept",
        batch,
        session: next,
        answer: async () => ({
          incarnationNumber: next.incarnationNumber,
          leaseMs: settings.leaseMs,
          heartbeatMs: settings.heartbeatMs,
          busyHeartbeatMs: settings.busyHeartbeatMs,
          assignmentsRevision: found.slot.value?.assignmentsRevision ?? 0,
          restoreEpoch: settings.restoreEpoch,
          recovering: Boolean(next.recovery),
        }),
        // Migrations may have waited for this host.
        afterwards: async () => {
          if (next.recovery) await reopen(ports, call.clusterId);
          else if (!wasFit && hostTrouble(next) === null) await admitNext(ports, call.clusterId);
        },
      };
    },
  });
}
