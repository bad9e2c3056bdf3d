// A doorbell that loses, repeats and delays rings on order, around one that does not: for tests that nothing but time
// depends on a ring.
import type { Doorbell, HostAddress } from "../ports/doorbell.ts";

export type RingFault =
  | { kind: "none" }
  /** Both rings are lost. */
  | { kind: "lost" }
  | { kind: "repeated"; times: number }
  /** Rings when `late` resolves, after later ones maybe: rings say nothing, so this is all that reordering is. */
  | { kind: "late"; late: () => Promise<void> };

export function createFaultyDoorbell(doorbell: Doorbell, decide: (host: HostAddress) => RingFault): Doorbell {
  return {
    ...doorbell,
    async ring(host: HostAddress): Promise<void> {
      const fault = decide(host);
      switch (fault.kind) {
        case "none":
          return doorbell.ring(host);
        case "lost":
          return;
        case "repeated":
          for (let ring = 0; ring < fault.times; ring++) await doorbell.ring(host);
          return;
        case "late":
          // Nobody waits for it; a delay that fails loses the ring.
          void fault.late().then(
            () => doorbell.ring(host),
            () => undefined,
          );
      }
    },
  };
}
