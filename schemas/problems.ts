// Every expected failure of the API: one place ties its code to its status and to the caller's next move.
// docs/problems/<code>.md tells the operator's.
import { z } from "zod";
import { Signed } from "./signing.ts";

type Entry = { status: number; retry: "never" | "later" | "changed"; title: string };

export const problems = {
  "malformed-json": { status: 400, retry: "changed", title: "The body is not valid JSON." },
  "invalid-request": { status: 400, retry: "changed", title: "A field is missing, unknown or out of bounds." },
  "body-too-large": { status: 413, retry: "changed", title: "The body is larger than 256 KiB." },
  "unsupported-media-type": { status: 415, retry: "changed", title: "The body must be application/json." },
  "route-unknown": { status: 404, retry: "never", title: "There is no such address in this API." },
  "method-not-allowed": { status: 405, retry: "never", title: "This address does not take this method." },
  "key-missing": { status: 401, retry: "changed", title: "The request carries no API key." },
  "key-unknown": { status: 401, retry: "changed", title: "The API key is not known here." },
  "scope-missing": { status: 403, retry: "never", title: "The API key may not do this." },
  "api-key-unknown": { status: 404, retry: "never", title: "There is no API key of that id." },
  "last-administering-key": {
    status: 409,
    retry: "later",
    title: "This is the last API key that may administer.",
  },
  "signature-invalid": { status: 401, retry: "never", title: "The host's signature does not fit the request." },
  "clock-skew": {
    status: 401,
    retry: "later",
    title: "The request was signed at a time too far from the control plane's.",
  },
  "join-token-invalid": { status: 401, retry: "never", title: "The join token is unknown, used or expired." },
  "incarnation-stale": { status: 409, retry: "never", title: "A newer incarnation of this host has reported." },
  "incarnation-ended": {
    status: 409,
    retry: "never",
    title: "An operator declared this incarnation of the host lost.",
  },
  "counter-stale": { status: 409, retry: "later", title: "A later request of this host came first." },
  "table-went-back": { status: 409, retry: "later", title: "The table knows less than the host was told before." },
  recovering: { status: 409, retry: "later", title: "The table was restored; hosts have yet to tell what they have." },
  "cluster-unknown": { status: 404, retry: "never", title: "There is no such cluster." },
  "cluster-exists": { status: 409, retry: "never", title: "A cluster of that name exists." },
  "cluster-full": { status: 409, retry: "never", title: "A cluster has 16 hosts at most." },
  "host-unknown": { status: 404, retry: "never", title: "There is no such host in this cluster." },
  "host-exists": { status: 409, retry: "never", title: "A host of that name has joined with another key." },
  "host-key-reused": { status: 409, retry: "changed", title: "Another host has joined with this key." },
  "migration-address-invalid": {
    status: 422,
    retry: "changed",
    title: "No single host can have this migration address.",
  },
  "migration-address-taken": { status: 409, retry: "changed", title: "Another host has this migration address." },
  "host-not-alive": { status: 409, retry: "later", title: "The host's lease has lapsed." },
  "host-cannot-journal": { status: 409, retry: "later", title: "The host's own disk takes no journal." },
  "destination-full": { status: 409, retry: "later", title: "The destination has not enough free memory." },
  "too-many-guests": { status: 409, retry: "later", title: "The host has as many guests as it may have." },
  "vm-unknown": { status: 404, retry: "never", title: "There is no such VM in this cluster." },
  "vm-exists": { status: 409, retry: "never", title: "A VM of that name exists or existed in this cluster." },
  "vm-not-running": { status: 409, retry: "later", title: "The VM is neither running nor paused." },
  "vm-not-stopped": { status: 409, retry: "later", title: "The VM must be stopped first." },
  "vm-already-migrating": { status: 409, retry: "later", title: "Another migration holds this VM." },
  "vm-deleted": { status: 410, retry: "never", title: "The VM was deleted." },
  "same-host": { status: 422, retry: "changed", title: "Source and destination are the same host." },
  "hypervisor-mismatch": { status: 422, retry: "never", title: "The destination runs another hypervisor." },
  "mode-not-offered": { status: 422, retry: "changed", title: "This mode of migration is not offered yet." },
  "placement-not-offered": { status: 422, retry: "changed", title: "Choosing a destination is not offered yet." },
  "migration-unknown": { status: 404, retry: "never", title: "There is no such migration in this cluster." },
  "too-late-committed": { status: 409, retry: "never", title: "Too late: the destination owns the guest." },
  "migration-over": { status: 409, retry: "never", title: "The migration is over." },
  "not-yours": { status: 403, retry: "never", title: "This host has no part in that." },
  "stale-fencing-token": { status: 409, retry: "never", title: "A newer owner took over; stop acting on this VM." },
  "already-aborted": { status: 409, retry: "never", title: "The migration was aborted." },
  "already-committed": { status: 409, retry: "never", title: "The destination has committed." },
  "already-returned": { status: 409, retry: "never", title: "The guest was returned to its source." },
  "already-confirmed": { status: 409, retry: "never", title: "The destination has confirmed the guest." },
  "already-forced": { status: 409, retry: "never", title: "An operator has decided this migration." },
  "host-may-decide": { status: 409, retry: "later", title: "A host that was not declared lost may still decide this." },
  "take-back-not-asked": {
    status: 409,
    retry: "never",
    title: "No operator asked that the source take the guest back.",
  },
  "destination-may-have-run": {
    status: 409,
    retry: "never",
    title: "The lock file does not prove that the destination never ran the guest.",
  },
  "duties-outdated": {
    status: 409,
    retry: "later",
    title: "The host was declared lost; its duties are being revised.",
  },
  "host-not-lost": { status: 409, retry: "later", title: "The host was not declared lost." },
  "host-alive": { status: 409, retry: "later", title: "The host renews its lease: it is not lost." },
  "not-committed": { status: 409, retry: "never", title: "The destination has not committed." },
  "source-has-claimed": { status: 409, retry: "later", title: "The source has begun; only it can abort now." },
  "idempotency-key-reused": { status: 422, retry: "never", title: "The idempotency key was used for another request." },
  "doorbell-elsewhere": { status: 404, retry: "never", title: "This deployment rings its hosts by another doorbell." },
  "table-busy": { status: 503, retry: "later", title: "Too many requests met on the same records." },
  "table-failing": { status: 503, retry: "later", title: "The table takes no writes." },
  "internal-error": { status: 500, retry: "later", title: "A fault in Drover; nothing is known about its effect." },
} as const satisfies Record<string, Entry>;

export type ProblemCode = keyof typeof problems;
export const problemCodes = Object.keys(problems) as ProblemCode[];

/** What a decision says when it refuses: a code, a sentence for this case, and where the fault is. */
export type Problem = {
  code: ProblemCode;
  /** What is wrong here and how to go on, naming field and bounds. */
  detail: string;
  errors?: { pointer: string; detail: string }[];
  /** The id of the thing in the way, such as the migration that holds the VM. */
  holder?: string;
};

/** RFC 9457 problem details. */
export const ProblemDetails = z
  .object({
    type: z.string(),
    title: z.string(),
    status: z.int().min(400).max(599),
    code: z.enum(problemCodes as [ProblemCode, ...ProblemCode[]]),
    detail: z.string(),
    requestId: z.string(),
    retry: z.enum(["never", "later", "changed"]),
    errors: z.array(z.object({ pointer: z.string(), detail: z.string() })).optional(),
    holder: z.string().optional(),
    record: Signed.optional().meta({ description: "To agents: the migration's record as it stands." }),
  })
  .meta({ id: "ProblemDetails" });
export type ProblemDetails = z.infer<typeof ProblemDetails>;
