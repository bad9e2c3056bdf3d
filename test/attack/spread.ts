// Where an attack strikes: positions spread over a stream of bytes, each once, the ends among them.
import { seededRandom } from "../support/seeded-random.ts";

/** @param dense this many at the very beginning, byte by byte: there the handshakes stand */
export function spread(length: number, count: number, seed: number, dense = 0): number[] {
  const random = seededRandom(seed);
  const positions = new Set<number>([0, length - 1]);
  for (let at = 0; at < Math.min(dense, length); at++) positions.add(at);
  while (positions.size < Math.min(count, length)) positions.add(Math.floor(random() * length));
  return [...positions].sort((one, other) => one - other);
}

/** Runs jobs, so many at once, and answers in their order. */
export async function inParallel<T>(jobs: readonly (() => Promise<T>)[], atOnce: number): Promise<T[]> {
  const results: T[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    for (let index = next++; index < jobs.length; index = next++) {
      const job = jobs[index];
      if (job) results[index] = await job();
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  return results;
}
