// The doorbell over SQS, one standard queue per host: agents wait at their queue, so that no function stays up for them.
// A message says nothing; it is rung twice, the second time by the queue's own delay.
import type { SQSClientConfig } from "@aws-sdk/client-sqs";
import {
  CreateQueueCommand,
  GetQueueUrlCommand,
  SendMessageCommand,
  SetQueueAttributesCommand,
  SQSClient,
} from "@aws-sdk/client-sqs";
import type { DoorbellAddress } from "../../schemas/agent.ts";
import type { Doorbell, HostAddress } from "../ports/doorbell.ts";
import { secondRingMs } from "../ports/doorbell.ts";

const queueAttributes = {
  // A ring that nobody fetches is stale: the heartbeat has seen to it. SQS keeps for 60 s at least.
  MessageRetentionPeriod: "60",
  ReceiveMessageWaitTimeSeconds: "20",
  // A ring that was fetched and not deleted went to a connection that died: it comes again this soon.
  VisibilityTimeout: "5",
} as const;
const queueNameLimit = 80;
/** Rings that come again and again to a host that cannot delete them: each receipt is 5 s after the one before. */
const receiptsAtMost = 5;

export type SqsDoorbellOptions = {
  /** Made by connectSqs. The doorbell takes it over and closes it. */
  client: SQSClient;
  region: string;
  /** Where agents find SQS, when not at AWS. */
  endpoint?: string;
  /** The ARN of a queue for rings that are fetched again and again and never deleted. */
  deadLetters?: string;
  /** How long a ring may keep its caller. */
  ringTimeoutMs?: number;
  /** Told of rings that failed; nobody else is. */
  onFailure?: (host: HostAddress, error: unknown) => void;
};

/** On Workers give the credentials. */
export function connectSqs(
  options: { region: string; endpoint?: string } & Pick<SQSClientConfig, "credentials">,
): SQSClient {
  // A local server's queue URLs name a host that need not resolve.
  return new SQSClient({ ...options, useQueueUrlAsEndpoint: options.endpoint === undefined });
}

export function createSqsDoorbell(options: SqsDoorbellOptions): Doorbell {
  const { client, region, endpoint, deadLetters, ringTimeoutMs = 2000, onFailure = () => {} } = options;
  const queueUrls = new Map<string, string>();

  async function findQueue(name: string, abortSignal: AbortSignal): Promise<string> {
    const known = queueUrls.get(name);
    if (known !== undefined) return known;
    const { QueueUrl } = await client.send(new GetQueueUrlCommand({ QueueName: name }), { abortSignal });
    return remember(name, QueueUrl);
  }

  function remember(name: string, queueUrl: string | undefined): string {
    if (queueUrl === undefined) throw new Error(`SQS gave no URL for queue ${name}`);
    queueUrls.set(name, queueUrl);
    return queueUrl;
  }

  return {
    async ring(host: HostAddress): Promise<void> {
      try {
        const name = await queueNameOf(host);
        const abortSignal = AbortSignal.timeout(ringTimeoutMs);
        const queueUrl = await findQueue(name, abortSignal);
        // Two requests, so that what loses one need not lose the other.
        const sent = await Promise.allSettled(
          [0, secondRingMs / 1000].map((DelaySeconds) =>
            client.send(new SendMessageCommand({ QueueUrl: queueUrl, MessageBody: "look", DelaySeconds }), {
              abortSignal,
            }),
          ),
        );
        const failed = sent.find((outcome) => outcome.status === "rejected");
        if (failed) {
          queueUrls.delete(name); // It may have been made anew elsewhere.
          throw failed.reason;
        }
      } catch (error) {
        onFailure(host, error);
      }
    },

    async install(host: HostAddress): Promise<DoorbellAddress> {
      const name = await queueNameOf(host);
      try {
        const queueUrl = await createQueue(client, name, attributesOf(deadLetters));
        return { kind: "sqs", queueUrl: remember(name, queueUrl), region, endpoint: endpoint ?? null };
      } catch (error) {
        throw new Error(`making queue ${name}`, { cause: error });
      }
    },

    wait: null,

    async close(): Promise<void> {
      client.destroy();
    },
  };
}

/** `drover-<cluster>_<host>`: no name holds an underscore, so no two hosts share a queue. Names too long for SQS are cut,
 *  and a hash of the whole keeps them apart. */
export async function queueNameOf({ clusterId, hostId }: HostAddress): Promise<string> {
  const name = `drover-${clusterId}_${hostId}`;
  if (name.length <= queueNameLimit) return name;
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(name));
  const hash = Array.from(new Uint8Array(digest).subarray(0, 12), (byte) => byte.toString(16).padStart(2, "0")).join(
    "",
  );
  return `${name.slice(0, queueNameLimit - hash.length - 1)}_${hash}`;
}

function attributesOf(deadLetters: string | undefined): Record<string, string> {
  if (deadLetters === undefined) return queueAttributes;
  const redrive = { deadLetterTargetArn: deadLetters, maxReceiveCount: receiptsAtMost };
  return { ...queueAttributes, RedrivePolicy: JSON.stringify(redrive) };
}

async function createQueue(
  client: SQSClient,
  name: string,
  attributes: Record<string, string>,
): Promise<string | undefined> {
  try {
    const { QueueUrl } = await client.send(new CreateQueueCommand({ QueueName: name, Attributes: attributes }));
    return QueueUrl;
  } catch (error) {
    // It is there with other attributes, from another release of ours.
    if (!(error instanceof Error) || !/QueueNameExists|QueueAlreadyExists/.test(error.name)) throw error;
    const { QueueUrl } = await client.send(new GetQueueUrlCommand({ QueueName: name }));
    await client.send(new SetQueueAttributesCommand({ QueueUrl, Attributes: attributes }));
    return QueueUrl;
  }
}
