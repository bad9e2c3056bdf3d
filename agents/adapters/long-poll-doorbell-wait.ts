// The doorbell as a long poll on the control plane itself. It is only a hint: whatever fails here is silence.
import { DoorbellAnswer } from "../../schemas/agent.ts";
import type { DoorbellWait } from "../ports/control-plane.ts";
import type { SignedRequests } from "./signed-requests.ts";

const longestWaitMs = 20_000;
const pauseAfterFailureMs = 1000;
const graceMs = 5000;

export function createLongPollDoorbellWait(requests: SignedRequests): DoorbellWait {
  const { clock } = requests;

  /** Null: it failed. */
  async function poll(waitMs: number, signal: AbortSignal): Promise<boolean | null> {
    try {
      const path = `/v1/agent/doorbell?waitMs=${Math.ceil(waitMs)}`;
      const answer = await requests.exchange("GET", path, null, signal, waitMs + graceMs);
      return answer.status === 200 ? DoorbellAnswer.parse(answer.body).rang : null;
    } catch {
      return null;
    }
  }

  return {
    async wait(timeoutMs, signal) {
      const endMs = clock.monotonicMs() + timeoutMs;
      for (let leftMs = timeoutMs; leftMs > 0 && !signal.aborted; leftMs = endMs - clock.monotonicMs()) {
        const rang = await poll(Math.min(leftMs, longestWaitMs), signal);
        if (rang) return true;
        if (rang === null && !signal.aborted) {
          const pauseMs = Math.min(pauseAfterFailureMs, endMs - clock.monotonicMs());
          if (pauseMs > 0) await clock.sleep(pauseMs, signal).catch(() => {});
        }
      }
      return false;
    },
  };
}
