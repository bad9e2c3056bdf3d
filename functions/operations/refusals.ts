// What a refused report is told: the rule in a sentence, and where to go on from.
import type { Problem, ProblemCode } from "../../schemas/problems.ts";

export const refuse = (problem: Problem) => ({ kind: "refuse", problem }) as const;

export function notYours(what: string): Problem {
  return { code: "not-yours", detail: `This host has no such part in ${what}; it reports only what is its own.` };
}

const sentences: { [C in ProblemCode]?: string } = {
  "stale-fencing-token": "The token is not the one that counts; read the record and act by it.",
  "already-aborted": "The migration was aborted before; the source's copy owns the guest.",
  "already-committed": "The destination has committed; its copy owns the guest.",
  "already-returned": "The guest was returned; the source's copy owns it.",
  "already-confirmed": "The destination has confirmed the guest, so it may have run there; it cannot be returned.",
  "already-forced": "An operator decided this migration; act by the record.",
  "take-back-not-asked": "No operator asks for it; act by the record.",
  "host-may-decide": "A host that was not declared lost may still decide this.",
  "not-committed": "Nothing was committed, so there is nothing to confirm or return.",
  "not-yours": "This host has no such part in it; it reports only what is its own.",
};

export function refusal(code: ProblemCode, what: string): Problem {
  const errors =
    code === "stale-fencing-token" ? [{ pointer: "/fencingToken", detail: "is not the one that counts" }] : null;
  return { code, detail: `${what}: ${sentences[code] ?? "refused by the record."}`, ...(errors ? { errors } : {}) };
}
