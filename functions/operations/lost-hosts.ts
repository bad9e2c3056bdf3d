// A host that an operator declares lost: that incarnation is heard no more, its part in a migration ends, its guests
// count as lost. When the host returns, its duties are brought to what became of its copies meanwhile.
import { type HostLoss, lostStatement } from "../../schemas/host.ts";
import type { Problem } from "../../schemas/problems.ts";
import { lostWithHost, revisedDuty } from "../domain/lost-host.ts";
import { isLost, loseHost } from "../domain/motion.ts";
import type { CopyDuty, MigrationState, Session, Slot, VmRecord } from "../domain/records.ts";
import { declareLost, isAlive, isDeclaredLost, settleLoss } from "../domain/session.ts";
import { hasEnded, vmEvents } from "../domain/vms.ts";
import type { Ports } from "../ports/ports.ts";
import { admitNext, admitQueued } from "./admit-next.ts";
import { getHost } from "./clusters.ts";
import { Batch, type Place, type Stored } from "./items.ts";
import { copyPrefix, hostPartition, keys, vmsPartition } from "./keys.ts";
import { bothEnds, motionOf, putMotion, readMotionById } from "./moving.ts";
import { type Operator, type OperatorDecision, type Outcome, operate } from "./operate.ts";
import { readAll, readHosts, readOne, readPlaces } from "./read.ts";
import { isRecovering } from "./recovery.ts";
import { refuse } from "./refusals.ts";
import { reopen } from "./reopen.ts";
import { retryConflicts } from "./retry.ts";
import { instantText } from "./views.ts";

export function declareHostLost(
  ports: Ports,
  operator: Operator,
  clusterId: string,
  hostId: string,
  loss: HostLoss,
): Promise<Outcome> {
  const decide = async (batch: Batch, at: number): Promise<OperatorDecision> => {
    const shown = await getHost(ports, clusterId, hostId);
    if ("code" in shown) return refuse(shown);
    const [host] = await readHosts(ports, clusterId, [hostId]);
    if (!host) throw new Error(`host ${hostId} is shown but not there`);
    const barred = lossBarred(hostId, host.session.value, loss, at);
    if (barred) return refuse(barred);
    const { incarnation, reason } = loss;
    const lost = { incarnation, reason, by: operator.keyId, at };
    if (host.session.value.lost?.incarnation === incarnation) {
      return { kind: "accept", batch, answer: { status: 200, body: { ...shown } } };
    }
    batch.put(host.session, declareLost(host.session.value, lost));
    const data = { incarnation, reason, statement: lostStatement };
    batch.event({ kind: "host-declared-lost", subject: { kind: "host", id: hostId }, data }, host.session);
    // While the cluster recovers, what became of its copies is drawn from what the others tell.
    const held = host.session.value.recovery?.kind === "recovering" ? null : host.slot.value.migration;
    const places = held && (await readMotionById(ports, clusterId, held.migrationId));
    if (held && places) {
      const context = { clusterId, at, restoreEpoch: ports.settings.restoreEpoch, actor: null };
      putMotion(batch, places, loseHost(motionOf(places), held.role, reason, context));
    }
    const declaredLost = { incarnation, reason, by: operator.keyId, at: instantText(at) };
    return {
      kind: "accept",
      batch,
      rings: places ? bothEnds(clusterId, places.migration.value) : [],
      answer: { status: 200, body: { ...shown, alive: false, leaseExpiresAt: null, declaredLost } },
      afterwards: async () => {
        await reopen(ports, clusterId);
        if (await isRecovering(ports, clusterId)) return null;
        await tidyLostHosts(ports, clusterId, [hostId]);
        await admitNext(ports, clusterId);
        return null;
      },
    };
  };
  return operate(ports, operator, clusterId, decide, { whileRecovering: true });
}

function lossBarred(hostId: string, session: Session, loss: HostLoss, at: number): Problem | null {
  if (session.incarnation !== loss.incarnation) {
    return {
      code: "incarnation-stale",
      detail: `Host "${hostId}" speaks under incarnation ${session.incarnation ?? "(none yet)"}; name that one, if it has ended.`,
      errors: [{ pointer: "/incarnation", detail: "is not the host's latest" }],
    };
  }
  if (!isAlive(session, at)) return null;
  const until = instantText(session.leaseExpiresAt ?? at);
  return {
    code: "host-alive",
    detail: `Host "${hostId}" has renewed its lease until ${until}; a lost host lets it lapse.`,
  };
}

/** Guests at rest that a lost host owned are lost with it. Each in a commit of its own, so that there may be many; what
 *  was left undone is done by whoever passes by next. */
export async function loseGuests(ports: Ports, clusterId: string, hostId: string): Promise<void> {
  for (const { value } of await readAll<VmRecord>(ports, vmsPartition(clusterId))) {
    if (value.owner?.hostId !== hostId || value.deleted || hasEnded(value)) continue;
    await loseGuest(ports, clusterId, hostId, value.vmId);
  }
}

export async function loseGuest(ports: Ports, clusterId: string, hostId: string, vmId: string): Promise<void> {
  const retried = await retryConflicts<string | null>(ports, "guest-lost-with-host", async () => {
    const [session, vm] = (await readPlaces<unknown>(ports, [
      keys.session(clusterId, hostId),
      keys.vm(clusterId, vmId),
    ])) as [Stored<Session>, Stored<VmRecord>];
    const { value } = vm;
    if (!value) return { kind: "done", result: null };
    const migration = value.migrationId
      ? await readOne<MigrationState>(ports, keys.migration(clusterId, value.migrationId))
      : null;
    const after = lostWithHost(value, hostId, session.value, migration?.value ?? null, ports.settings.restoreEpoch);
    if (!after) return { kind: "done", result: null };
    const batch = new Batch({ clusterId, by: "control-plane", at: ports.clock.nowMs() });
    batch.put(vm, after);
    batch.check(session);
    batch.events(vmEvents(value, after), { vm });
    return { kind: "commit", changes: batch.changes, result: value.migrationId };
  });
  if (retried.kind === "done" && retried.result) await admitQueued(ports, clusterId, retried.result);
}

/** The last net for hosts declared lost: what the declaration left undone. */
export async function tidyLostHosts(ports: Ports, clusterId: string, hostIds: readonly string[]): Promise<void> {
  for (const { hostId, session } of await readHosts(ports, clusterId, hostIds)) {
    if (!isDeclaredLost(session.value)) continue;
    await losePart(ports, clusterId, hostId);
    await loseGuests(ports, clusterId, hostId);
  }
}

/** Its part in the migration that holds its slot: while the cluster recovers, the declaration does not touch it. */
async function losePart(ports: Ports, clusterId: string, hostId: string): Promise<void> {
  await retryConflicts<null>(ports, "part-lost-with-host", async () => {
    const [host] = await readHosts(ports, clusterId, [hostId]);
    const held = host?.slot.value.migration;
    const lost = host && isDeclaredLost(host.session.value) ? host.session.value.lost : null;
    const places = held && lost ? await readMotionById(ports, clusterId, held.migrationId) : null;
    if (!host || !held || !lost || !places || isLost(places.migration.value, held.role)) {
      return { kind: "done", result: null };
    }
    const at = ports.clock.nowMs();
    const batch = new Batch({ clusterId, by: "control-plane", at });
    const context = { clusterId, at, restoreEpoch: ports.settings.restoreEpoch, actor: null };
    putMotion(batch, places, loseHost(motionOf(places), held.role, lost.reason, context));
    if (batch.isEmpty) return { kind: "done", result: null };
    batch.check(host.session);
    return { kind: "commit", changes: batch.changes, result: null };
  });
}

/** Before a host that was declared lost takes up its duties again: each is brought to what the VM's record says, so that
 *  a copy that another one has superseded is ended (rule 8: a higher token, another copy named), and nothing else is. */
export async function reviseDuties(ports: Ports, clusterId: string, hostId: string): Promise<void> {
  const duties = await readAll<CopyDuty>(ports, hostPartition(clusterId, hostId), copyPrefix);
  const slotKey = keys.slot(clusterId, hostId);
  for (const { key } of duties) {
    await retryConflicts<null>(ports, "duty-revised", async () => {
      const [duty, slot] = (await readPlaces<unknown>(ports, [key, slotKey])) as [Place<CopyDuty>, Place<Slot>];
      if (!duty.value) return { kind: "done", result: null };
      // What a migration under way says of the copy comes with the claim.
      const held = slot.value?.migration;
      if (held?.assignment[held.role].copyId === duty.value.copyId) return { kind: "done", result: null };
      const vm = await readOne<VmRecord>(ports, keys.vm(clusterId, duty.value.vmId));
      if (!vm.value) return { kind: "done", result: null };
      const batch = new Batch({ clusterId, by: "control-plane", at: ports.clock.nowMs() });
      batch.put(duty, revisedDuty(duty.value, vm.value, hostId));
      if (batch.isEmpty) return { kind: "done", result: null };
      batch.check(vm);
      batch.check(slot);
      return { kind: "commit", changes: batch.changes, result: null };
    });
  }
  await retryConflicts<null>(ports, "loss-settled", async () => {
    const session = await readOne<Session>(ports, keys.session(clusterId, hostId));
    const settled = session.value && settleLoss(session.value);
    if (!settled) return { kind: "done", result: null };
    const batch = new Batch({ clusterId, by: "control-plane", at: ports.clock.nowMs() });
    batch.put(session, settled);
    return { kind: "commit", changes: batch.changes, result: null };
  });
}
