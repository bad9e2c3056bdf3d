// Waits at the host's SQS queue. A message is only a hint, so what goes wrong with it never matters: one that is not
// deleted comes again, one that is lost costs a heartbeat interval.
import type { Message } from "@aws-sdk/client-sqs";
import { DeleteMessageBatchCommand, ReceiveMessageCommand, SQSClient } from "@aws-sdk/client-sqs";
import type { DoorbellAddress } from "../../schemas/agent.ts";
import type { Clock } from "../ports/clock.ts";
import type { DoorbellWait } from "../ports/control-plane.ts";

const longestPollSeconds = 20;
/** A poll that is answered this much later than it should be is on a dead connection. */
const graceMs = 8_000;
const deleteTimeoutMs = 5_000;
const firstPauseMs = 500;
const longestPauseMs = 20_000;

export type SqsDoorbellWaitOptions = {
  address: Extract<DoorbellAddress, { kind: "sqs" }>;
  clock: Clock;
  /** 0 to 1: spreads the tries of many hosts after an outage. */
  random?: () => number;
};

/** Credentials come from the environment, as the AWS SDK finds them. */
export function createSqsDoorbellWait(options: SqsDoorbellWaitOptions): DoorbellWait & { close(): Promise<void> } {
  const { address, clock, random = Math.random } = options;
  const endpoint = address.endpoint ?? undefined;
  const client = new SQSClient({
    region: address.region,
    maxAttempts: 1, // A poll that failed is begun anew here, after a pause.
    useQueueUrlAsEndpoint: endpoint === undefined,
    ...(endpoint === undefined ? {} : { endpoint }),
  });
  const closing = new AbortController();
  const deletions = new Set<Promise<unknown>>();
  let failures = 0;

  async function poll(waitSeconds: number, signal: AbortSignal): Promise<Message[]> {
    const command = new ReceiveMessageCommand({
      QueueUrl: address.queueUrl,
      WaitTimeSeconds: waitSeconds,
      MaxNumberOfMessages: 10, // Rings that gathered are one ring.
    });
    const abortSignal = AbortSignal.any([signal, AbortSignal.timeout(waitSeconds * 1000 + graceMs)]);
    const { Messages } = await client.send(command, { abortSignal });
    return Messages ?? [];
  }

  function forget(messages: readonly Message[]): void {
    const Entries = messages.map(({ ReceiptHandle }, i) => ({ Id: String(i), ReceiptHandle }));
    const command = new DeleteMessageBatchCommand({ QueueUrl: address.queueUrl, Entries });
    const deletion = client
      .send(command, { abortSignal: AbortSignal.timeout(deleteTimeoutMs) })
      .catch(() => undefined)
      .finally(() => deletions.delete(deletion));
    deletions.add(deletion);
  }

  async function pause(longestMs: number, signal: AbortSignal): Promise<void> {
    const pauseMs = Math.min(longestPauseMs, firstPauseMs * 2 ** Math.min(failures - 1, 10));
    // However it ends: the caller looks at the signal and the clock.
    await clock.sleep(Math.min(longestMs, pauseMs * (0.5 + random() / 2)), signal).catch(() => undefined);
  }

  return {
    async wait(timeoutMs: number, callerSignal: AbortSignal): Promise<boolean> {
      const signal = AbortSignal.any([callerSignal, closing.signal]);
      const endMs = clock.monotonicMs() + timeoutMs;
      for (let leftMs = timeoutMs; !signal.aborted; leftMs = endMs - clock.monotonicMs()) {
        if (leftMs < 0 || (leftMs === 0 && timeoutMs > 0)) return false;
        try {
          const messages = await poll(Math.min(longestPollSeconds, Math.ceil(leftMs / 1000)), signal);
          failures = 0;
          // Who waited has gone: what is not deleted comes again for the next one.
          if (signal.aborted) return false;
          if (messages.length > 0) {
            clock.after(0, () => forget(messages)); // After the wake-up is handed on.
            return true;
          }
          if (timeoutMs === 0) return false;
        } catch {
          if (signal.aborted) return false;
          failures++;
          await pause(Math.max(0, endMs - clock.monotonicMs()), signal);
        }
      }
      return false;
    },

    async close(): Promise<void> {
      closing.abort();
      await Promise.all(deletions);
      client.destroy();
    },
  };
}
