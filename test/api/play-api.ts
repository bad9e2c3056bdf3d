// So many requests under one seed; the one that was answered wrongly is told with its seed and number.
import { ApiPlayer, type Tally } from "./requests.ts";

/** After so many a new cluster: what is in it fills up. */
const requestsPerCluster = 1000;

export async function playApi(seed: number, requests: number): Promise<Tally> {
  const sum: Tally = { requests: 0, statuses: {} };
  while (sum.requests < requests) {
    const player = await ApiPlayer.start(seed * 1_000_000 + sum.requests);
    const share = Math.min(requestsPerCluster, requests - sum.requests);
    try {
      for (let step = 0; step < share; step++) await player.step();
    } catch (error) {
      throw new Error(`seed ${seed}, request ${sum.requests + player.tally.requests}`, { cause: error });
    }
    sum.requests += share;
    for (const [operation, counts] of Object.entries(player.tally.statuses)) {
      const known = sum.statuses[operation] ?? {};
      for (const [status, count] of Object.entries(counts)) known[status] = (known[status] ?? 0) + count;
      sum.statuses[operation] = known;
    }
  }
  return sum;
}
