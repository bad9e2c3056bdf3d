// May this request of a host be heard? Its counter numbers its requests; its incarnation says which life of the host
// speaks; what it has seen acknowledged tells whether the table went back.
import type { Problem } from "../../schemas/problems.ts";
import type { LostIncarnation, Session } from "./records.ts";

export type Speaking = { incarnation: string; counter: number; acknowledged: number };

/** write: changes something. read: changes nothing, so a late one harms nobody. heartbeat: may begin an incarnation. */
export type Manner = "read" | "write" | "heartbeat";

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
  if (speaking.acknowledged > session.counter) {
    return {
      code: "table-went-back",
      detail: `This host was told counter ${speaking.acknowledged}; the table knows ${session.counter}. It was restored or replaced; nothing is decided on it.`,
    };
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
export function afterHeartbeat(session: Session, speaking: Speaking, leaseExpiresAt: number): Session {
  const isNew = session.incarnation !== speaking.incarnation;
  return {
    incarnation: speaking.incarnation,
    incarnationNumber: session.incarnationNumber + (isNew ? 1 : 0),
    counter: speaking.counter,
    leaseExpiresAt,
    lost: session.lost ?? null,
  };
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
