// All attacks on one memory stream.
import type { Direction, Fault } from "../support/fault-proxy.ts";
import { unitFaults, unitsOf } from "../support/wire-units.ts";
import type { Amounts } from "./link-strikes.ts";
import { spread } from "./spread.ts";
import { StreamAttack } from "./stream-attack.ts";
import { at, type Ended, flips, lengthOfUnits, type Strikes, ways } from "./strikes.ts";

const streamsAtOnce = 2;
/** Records of TLS up to the Finished of that end, and the greeting or its answer. */
const handshakeUnits = { forth: 4, back: 7 } as const;
/** A few bytes of every run's JSON are shorter or longer. */
const unsteadyBytes = { forth: 200, back: 20 } as const;
/** Then the agents give a stream up that neither goes on nor ends; in the product after 40 s (source-state.ts). */
const patienceMs = 1500;

export async function strikeStreams(strikes: Strikes, { bits, cuts, seed }: Amounts): Promise<void> {
  const attacks = await Promise.all(Array.from({ length: streamsAtOnce }, () => StreamAttack.build()));
  try {
    const [first] = attacks;
    if (!first) return;
    const clean = await first.run({ kind: "none" }, "forth", 30_000, true);
    if (clean.outcome !== "loaded") throw new Error(`without an attack nothing is loaded: ${clean.why}`);
    const strike = async (
      name: string,
      way: Direction,
      faults: readonly Fault[],
      patience = patienceMs,
      mustMigrate = false,
    ): Promise<void> => {
      const play = async (fault: Fault, worker: number) =>
        endedFrom(await (attacks[worker] ?? first).run(fault, way, patience));
      await strikes.carryOut(
        { name: `stream, ${name}`, way, faults, limitMs: patience, mustMigrate, play },
        streamsAtOnce,
      );
    };
    for (const way of ways) {
      const bytes = Buffer.concat(clean.recorded[way]);
      const length = bytes.length - unsteadyBytes[way];
      const handshake = Math.min(length, lengthOfUnits(bytes, handshakeUnits[way]));
      const units = unitsOf(bytes).slice(0, 12);
      const places = spread(length, handshake + cuts, seed + 1, handshake);
      const some = spread(length, 12, seed + 2);
      await strike("one bit flipped", way, flips(spread(length, handshake + bits, seed, handshake)));
      for (const kind of ["cut", "reset"] as const) await strike(kind, way, at(kind, places));
      await strike("one way silent", way, at("hold", some));
      await strike("half open", way, at("half-open", some));
      const slow = some.map((place): Fault => ({ kind: "trickle", at: place, bytesPerSecond: 1 }));
      await strike("one byte per second", way, slow);
      const late = some.map((place): Fault => ({ kind: "delay", at: place, delayMs: 200 }));
      await strike("200 ms late", way, late, 30_000, true);
      await strike("a record lost, doubled, swapped", way, unitFaults(bytes, units.length));
      const earlier = [bytes, ...units].flatMap((unit) =>
        [0, handshake].map((place): Fault => ({ kind: "insert", at: place, bytes: unit })),
      );
      await strike("records of an earlier one", way, earlier);
    }
  } finally {
    await Promise.all(attacks.map((attack) => attack.close()));
  }
}

function endedFrom({ outcome, sent, why, durationMs, hit }: Awaited<ReturnType<StreamAttack["run"]>>): Ended {
  if (outcome === "loaded") return { outcome: "migrated", why: null, durationMs, hit };
  const isPending = outcome === "pending" && sent === "pending";
  const reason = why ?? (isPending ? "no progress: given up by the agents" : "ended");
  return { outcome: "aborted", why: `stream: ${reason}`, durationMs, hit };
}
