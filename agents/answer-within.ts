import type { Clock } from "./ports/clock.ts";

/** What a promise brings within its time; null where it brings nothing by then, or fails. */
export async function answerWithin<T>(clock: Clock, milliseconds: number, promise: Promise<T>): Promise<T | null> {
  const answered = new AbortController();
  const nothing = (): null => null;
  const late = clock.sleep(milliseconds, answered.signal).then(nothing, nothing);
  const answer = await Promise.race([promise.catch(nothing), late]);
  answered.abort();
  return answer;
}
