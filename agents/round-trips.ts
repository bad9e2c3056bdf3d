// How long a round trip to the control plane takes, measured on those that happen anyway. Its 99th percentile is part
// of the downtime that a migration predicts, for the commit lies within the pause.
import type { Clock } from "./ports/clock.ts";
import type { ControlPlane } from "./ports/control-plane.ts";

const kept = 200;
/** Before anything was measured. */
const firstGuessMs = 20;

export function measureRoundTrips(
  controlPlane: ControlPlane,
  clock: Clock,
): { controlPlane: ControlPlane; p99Ms(): number } {
  const samples: number[] = [];
  const timed = async <T extends { kind: string }>(ask: () => Promise<T>): Promise<T> => {
    const beganMs = clock.monotonicMs();
    const answer = await ask();
    if (answer.kind !== "unknown") {
      samples.push(clock.monotonicMs() - beganMs);
      if (samples.length > kept) samples.shift();
    }
    return answer;
  };
  return {
    controlPlane: {
      heartbeat: (request) => timed(() => controlPlane.heartbeat(request)),
      claim: () => timed(() => controlPlane.claim()),
      readRecord: (migrationId) => timed(() => controlPlane.readRecord(migrationId)),
      report: (report) => timed(() => controlPlane.report(report)),
      tellInventory: (inventory) => controlPlane.tellInventory(inventory),
      prove: (signed, migrationId) => controlPlane.prove(signed, migrationId),
      controlPlaneNowMs: () => controlPlane.controlPlaneNowMs(),
    },
    p99Ms() {
      if (samples.length === 0) return firstGuessMs;
      const sorted = samples.toSorted((a, b) => a - b);
      return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * 0.99))] ?? firstGuessMs;
    },
  };
}
