// All attacks on one peer link.
import type { Direction, Fault } from "../support/fault-proxy.ts";
import { unitFaults, unitsOf } from "../support/wire-units.ts";
import { LinkAttack } from "./link-attack.ts";
import { spread } from "./spread.ts";
import { at, type Ended, flips, lengthOfUnits, type Strikes, ways } from "./strikes.ts";

export type Amounts = { bits: number; cuts: number; seed: number };

const linksAtOnce = 8;
/** Hello, proof, and the records of TLS up to the Finished of that end. */
const handshakeUnits = { forth: 5, back: 6 } as const;
/** A link that is up and falls silent is closed after 5 s (tcp-peer-link-messages.ts); it is looked at each second. */
const silenceMs = 7000;
const usual = { connectMs: 1200, patienceMs: 800 };

export async function strikeLinks(strikes: Strikes, { bits, cuts, seed }: Amounts): Promise<void> {
  const attack = await LinkAttack.build();
  const clean = await attack.run({ kind: "none" }, "forth", { record: true });
  if (!clean.isWhole) throw new Error(`without an attack there is no link: ${clean.why}`);
  const strike = async (
    name: string,
    way: Direction,
    faults: readonly Fault[],
    patience: typeof usual = usual,
    mustMigrate = false,
  ): Promise<void> => {
    const limitMs = patience.connectMs + patience.patienceMs;
    const play = async (fault: Fault) => endedFrom(await attack.run(fault, way, patience));
    await strikes.carryOut({ name: `link, ${name}`, way, faults, limitMs, mustMigrate, play }, linksAtOnce);
  };
  for (const way of ways) {
    const bytes = Buffer.concat(clean.recorded[way]);
    const handshake = lengthOfUnits(bytes, handshakeUnits[way]);
    const places = spread(bytes.length, handshake + cuts, seed + 1, handshake);
    const some = spread(bytes.length, 24, seed + 2);
    const units = unitsOf(bytes);
    await strike("one bit flipped", way, flips(spread(bytes.length, Math.max(bits, handshake), seed, handshake)));
    for (const kind of ["cut", "reset"] as const)
      await strike(kind, way, at(kind, places), { ...usual, connectMs: 5000 });
    await strike("one way silent", way, at("hold", some), { connectMs: 3000, patienceMs: silenceMs });
    await strike("half open", way, at("half-open", some), { connectMs: 3000, patienceMs: silenceMs });
    const slow = some.map((place): Fault => ({ kind: "trickle", at: place, bytesPerSecond: 1 }));
    await strike("one byte per second", way, slow);
    const late = some.map((place): Fault => ({ kind: "delay", at: place, delayMs: 200 }));
    await strike("200 ms late", way, late, { connectMs: 5000, patienceMs: 5000 }, true);
    await strike("a line or record lost, doubled, swapped", way, unitFaults(bytes, units.length), {
      ...usual,
      connectMs: 3000,
    });
    const earlier = [bytes, ...units].flatMap((unit) =>
      [0, units[0]?.length ?? 0, handshake].map((place): Fault => ({ kind: "insert", at: place, bytes: unit })),
    );
    await strike("lines and records of an earlier one", way, earlier, { ...usual, connectMs: 3000 });
  }
}

function endedFrom({ arrived, source, why, durationMs, hit }: Awaited<ReturnType<LinkAttack["run"]>>): Ended {
  const reason = why ?? (source === "linked" ? "no message comes through: closed by the agents" : source);
  return { outcome: arrived ? "migrated" : "aborted", why: arrived ? null : `link: ${reason}`, durationMs, hit };
}
