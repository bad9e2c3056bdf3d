// The doorbell over SQS, as the environment tells of it: the same on every runtime.
import { connectSqs, createSqsDoorbell, type SqsDoorbellOptions } from "../adapters/sqs-doorbell.ts";
import type { Doorbell } from "../ports/doorbell.ts";
import type { Credentials } from "./cloud-environment.ts";
import type { SqsPlace } from "./environment.ts";

export type SqsDoorbellParts = Pick<SqsDoorbellOptions, "onFailure"> & {
  /** Where the SDK finds none by itself. */
  credentials?: Credentials;
};

export function openSqsDoorbell({ region, endpoint, deadLetters }: SqsPlace, parts: SqsDoorbellParts): Doorbell {
  const { credentials, ...rest } = parts;
  const at = endpoint === null ? { region } : { region, endpoint };
  return createSqsDoorbell({
    client: connectSqs({ ...at, ...(credentials ? { credentials } : {}) }),
    ...at,
    ...(deadLetters === null ? {} : { deadLetters }),
    ...rest,
  });
}
