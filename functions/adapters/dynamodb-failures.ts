// What a failed request to DynamoDB says about whether it happened.
import type { AttributeValue } from "@aws-sdk/client-dynamodb";

export type StoredItem = Record<string, AttributeValue>;

export type Failure =
  /** The conditions of these changes (by their place in the request) failed; what stands there, if anything does. */
  | { kind: "conditions-failed"; standing: { place: number; stored: StoredItem | null }[] }
  /** It did not happen and may be sent again: too much at once, or another transaction on the same items. */
  | { kind: "throttled" }
  /** It did not happen: there is no way to the table now. */
  | { kind: "out-of-reach" }
  /** It did not happen, and sending it again will not help: rights, credentials, a missing table. */
  | { kind: "refused" }
  /** It may have happened, or may still: no answer, a broken one, or a fault of the server. */
  | { kind: "unknown" };

const throttled = new Set([
  "ProvisionedThroughputExceededException",
  "ThrottlingException",
  "ThrottledException",
  "RequestLimitExceeded",
  "TransactionConflictException",
  "ReplicatedWriteConflictException",
]);
const throttledReasons = new Set(["None", "TransactionConflict", "ProvisionedThroughputExceeded", "ThrottlingError"]);
/** Nothing was sent. Only Node tells these apart. */
const neverConnected = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN", "EHOSTUNREACH", "ENETUNREACH"]);
/** The same request, sent before, is still being worked on. */
const inProgress = "TransactionInProgressException";

export function judgeFailure(error: unknown): Failure {
  const name = textField(error, "name");
  if (name === "ConditionalCheckFailedException") {
    return { kind: "conditions-failed", standing: [{ place: 0, stored: storedItem(field(error, "Item")) }] };
  }
  if (name === "TransactionCanceledException") return judgeReasons(field(error, "CancellationReasons"));
  if (throttled.has(name)) return { kind: "throttled" };
  if (name === "CredentialsProviderError") return { kind: "refused" };
  if (neverConnected.has(textField(error, "code"))) return { kind: "out-of-reach" };
  const status = field(field(error, "$metadata"), "httpStatusCode");
  if (status === 429) return { kind: "throttled" };
  const isRefusal = typeof status === "number" && status >= 400 && status < 500 && name !== inProgress;
  return { kind: isRefusal ? "refused" : "unknown" };
}

/** True when the client sent it more than once: an earlier one may have happened without an answer. */
export function wasSentAgain(error: unknown): boolean {
  const attempts = field(field(error, "$metadata"), "attempts");
  return typeof attempts === "number" && attempts > 1;
}

/** Cut short: some servers answer with pages of their insides. */
export function shortMessage(error: unknown): string {
  return `${textField(error, "name")}: ${textField(error, "message")}`.slice(0, 300);
}

function judgeReasons(reasons: unknown): Failure {
  if (!Array.isArray(reasons)) return { kind: "refused" };
  const standing = reasons.flatMap((reason: unknown, place) =>
    textField(reason, "Code") === "ConditionalCheckFailed"
      ? [{ place, stored: storedItem(field(reason, "Item")) }]
      : [],
  );
  if (standing.length > 0) return { kind: "conditions-failed", standing };
  const isThrottled = reasons.every((reason: unknown) => throttledReasons.has(textField(reason, "Code") || "None"));
  return { kind: isThrottled ? "throttled" : "refused" };
}

function storedItem(value: unknown): StoredItem | null {
  return isStoredItem(value) && Object.keys(value).length > 0 ? value : null;
}

function isStoredItem(value: unknown): value is StoredItem {
  return typeof value === "object" && value !== null;
}

function field(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}

function textField(value: unknown, name: string): string {
  const found = field(value, name);
  return typeof found === "string" ? found : "";
}
