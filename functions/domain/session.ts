// May this request of a host be heard? Its counter numbers its requests; its incarnation says which life of the host
// speaks; what it has seen acknowledged tells whether the table went back.
import type { GuestPage, HostAlarm } from "../../schemas/agent.ts";
import type { Problem } from "../../schemas/problems.ts";
import type { LostIncarnation, Session, SessionRecovery, StandingAlarm } from "./records.ts";

export type Speaking = { incarnation: string; counter: number; acknowledged: number };

/** write: changes something. read: changes nothing, so a late one harms nobody. heartbeat: may begin an incarnation.
 *  inventory: told while the cluster recovers from a table that went back. */
export type Manner = "read" | "write" | "heartbeat" | "inventory";

export function checkSession(
  session: Session,
  speaking: Speaking,
  manner: Manner,
  /** This incarnation has been this host's at some time. */
  isKnownIncarnation: boolean,
): Problem | null {
  if (session.lost && session.lost.incarnation === speaking.incarnation) {
    return {
      code: "incarnation-ended",
      detail:
        `An operator declared this incarnation of the host lost (${session.lost.reason}): nothing it says counts any ` +
        "more. The host goes on under a new incarnation.",
    };
  }
  const { recovery } = session;
  if (recovery?.kind === "went-back") {
    return {
      code: "table-went-back",
      detail: `Host "${recovery.noticedBy}" was told more than the table knows. It was restored or replaced; nothing is decided on it until "drover restore" was run.`,
    };
  }
  if (speaking.acknowledged > session.counter) {
    return {
      code: "table-went-back",
      detail: `This host was told counter ${speaking.acknowledged}; the table knows ${session.counter}. It was restored or replaced; nothing is decided on it until "drover restore" was run, with an epoch above every one before.`,
    };
  }
  if (recovery && manner !== "heartbeat" && manner !== "inventory") {
    return { code: "recovering", detail: "The table was restored: this host is to tell what it has, and to wait." };
  }
  if (speaking.incarnation !== session.incarnation && !(manner === "heartbeat" && !isKnownIncarnation)) {
    return {
      code: "incarnation-stale",
      detail:
        isKnownIncarnation || session.incarnation !== null
          ? "Another incarnation of this host speaks now; a new one begins with a heartbeat."
          : "This incarnation is not known yet; it begins with a heartbeat.",
    };
  }
  // The numbers go on over incarnations: one that began again lower could not tell a table that went back.
  if (manner !== "read" && speaking.counter <= session.counter) {
    return {
      code: "counter-stale",
      detail: `Request ${speaking.counter} came after ${session.counter} of this host; number the next one above that.`,
    };
  }
  return null;
}

export function isAlive(session: Session | null, nowMs: number): boolean {
  return session !== null && session.leaseExpiresAt !== null && session.leaseExpiresAt > nowMs;
}

/** A session after a request that writes. */
export function afterRequest(session: Session, speaking: Speaking): Session {
  return { ...session, counter: speaking.counter };
}

/** A heartbeat renews the lease; the first one of an incarnation numbers it. */
export function afterHeartbeat(
  session: Session,
  speaking: Speaking,
  { at, leaseMs, alarms }: { at: number; leaseMs: number; alarms: readonly HostAlarm[] },
): Session {
  const isNew = session.incarnation !== speaking.incarnation;
  return {
    incarnation: speaking.incarnation,
    incarnationNumber: session.incarnationNumber + (isNew ? 1 : 0),
    counter: speaking.counter,
    leaseExpiresAt: at + leaseMs,
    lost: session.lost ?? null,
    recovery: recoveryAfter(session, isNew),
    ...(alarms.length > 0 ? { alarms: alarms.map((alarm) => standing(session, alarm, at)) } : {}),
  };
}

/** An alarm stands since it was first told. */
function standing({ alarms }: Session, { code, detail }: HostAlarm, at: number): StandingAlarm {
  return { code, detail, since: alarms?.find((before) => before.code === code)?.since ?? at };
}

/** What keeps the host from a part in any migration, by its own word; null where nothing does. */
export function hostTrouble(session: Session | null): string | null {
  return session?.alarms?.find(({ code }) => code === "cannot-journal")?.detail ?? null;
}

/** What an earlier life of the host told may not hold any more. */
function recoveryAfter({ recovery }: Session, isNewIncarnation: boolean): SessionRecovery | null {
  if (!recovery || recovery.kind === "went-back") return recovery ?? null;
  const { kind, restoreEpoch } = recovery;
  return isNewIncarnation ? { kind, restoreEpoch, reportedAt: null } : recovery;
}

/** A host has noticed that the table went back: nothing is decided for its cluster until an operator restores it, also
 *  where it was recovering from the last time. */
export function noticeWentBack(session: Session, noticedBy: string): Session {
  if (session.recovery?.kind === "went-back") return session;
  return { ...session, recovery: { kind: "went-back", noticedBy } };
}

/** So many requests of a host are numbered within one restore epoch; at ten a second they last for a year and a half.
 *  A host's highest number stays exact, and within the digits of a header, up to the highest epoch. */
export const requestsPerEpoch = 2 ** 29;

/** The table was restored: the host is awaited, whatever was said of it before the backup. Its requests are numbered from
 *  above all that it was told before: what it is told from now on, this table must know. */
export function beginRecovery(session: Session, restoreEpoch: number): Session {
  const recovery = { kind: "recovering", restoreEpoch, reportedAt: null } as const;
  const counter = Math.max(session.counter, restoreEpoch * requestsPerEpoch);
  return { ...session, counter, leaseExpiresAt: null, lost: null, recovery };
}

/** A host has told what it has when all of its pages came. */
export function afterInventory(session: Session, speaking: Speaking, at: number, page: GuestPage): Session {
  const { recovery } = session;
  if (recovery?.kind !== "recovering") return afterRequest(session, speaking);
  const { of, index } = page;
  const before = recovery.told?.of === of ? recovery.told.pages : [];
  const pages = before.includes(index) ? before : [...before, index];
  const reportedAt = pages.length === of ? (recovery.reportedAt ?? at) : null;
  return { ...afterRequest(session, speaking), recovery: { ...recovery, reportedAt, told: { of, pages } } };
}

/** Still to tell what it has; a host that was declared lost is not waited for. */
export function isAwaited(session: Session): boolean {
  return session.recovery?.kind === "recovering" && session.recovery.reportedAt === null && !isDeclaredLost(session);
}

/** This life of it has told what it has since the table was restored. */
export function hasTold(session: Session): boolean {
  return session.recovery?.kind === "recovering" && session.recovery.reportedAt !== null && !isDeclaredLost(session);
}

/** Declared lost, and no later incarnation has been heard of since. */
export function isDeclaredLost(session: Session | null): boolean {
  return Boolean(session?.lost && session.lost.incarnation === session.incarnation);
}

/** A later incarnation has been told what became of its copies. @returns null where there is nothing to settle yet */
export function settleLoss(session: Session): Session | null {
  return session.lost && !isDeclaredLost(session) ? { ...session, lost: null } : null;
}

/** The cluster is open again. A host that was not heard tells what it has when it comes back. */
export function endRecovery(session: Session): Session {
  return hasTold(session) ? { ...session, recovery: null } : session;
}

/** From now on nothing that this incarnation says is taken. */
export function declareLost(session: Session, lost: LostIncarnation): Session {
  return { ...session, leaseExpiresAt: null, lost };
}

export const newSession: Session = {
  incarnation: null,
  incarnationNumber: 0,
  counter: 0,
  leaseExpiresAt: null,
  lost: null,
};
