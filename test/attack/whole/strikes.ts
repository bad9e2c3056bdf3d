// Attacks on whole clusters of real processes: fewer of each sort, each a live migration of a guest that runs.
import type { Direction, Fault } from "../../support/fault-proxy.ts";
import { unitFaults, unitsOf } from "../../support/wire-units.ts";
import { spread } from "../spread.ts";
import { at, type Ended, flips, lengthOfUnits, type Strikes, ways } from "../strikes.ts";
import type { Connection } from "./route.ts";
import { WholeAttack, type Wire } from "./whole-attack.ts";

const connections: readonly Connection[] = ["link", "stream"];
/** Lines and records until both ends have the key, and the first that follows. */
const handshakeUnits = 6;
/** Within these an attack ends (docs/wire.md): a connection that falls silent is not tried for ever, and a stream
 *  without progress is given up; and the time of the migration itself. */
const usualLimitMs = 60_000;
/** One ack in half a minute is progress: the rounds are judged, and found not to converge. */
const crawlingLimitMs = 6 * 60_000;

export type Sort = { name: string; faults: Fault[]; mustMigrate?: boolean };

/** Of one connection and direction, by what passes when nobody attacks. */
export function sortsOf(bytes: Buffer, seed: number, few: number): Sort[] {
  const handshake = lengthOfUnits(bytes, handshakeUnits);
  // What runs is written anew each time: the end of another run may come sooner.
  const within = spread(handshake, few, seed);
  const beyond = spread(Math.floor(bytes.length * 0.7), few, seed + 1).filter((place) => place > handshake);
  const places = [...within, ...beyond];
  const [place = 0, late = 0] = [within[1], beyond.at(-1) ?? within.at(-1)];
  const units = unitFaults(bytes, handshakeUnits).filter((_, index) => index % 4 === seed % 4);
  const random = Buffer.from(Array.from({ length: 600 }, (_, index) => (index * 7919 + seed) % 256));
  return [
    { name: "one bit flipped", faults: flips(places) },
    { name: "cut", faults: at("cut", places) },
    { name: "reset", faults: at("reset", places) },
    { name: "one way silent", faults: at("hold", [place, late]) },
    { name: "half open", faults: at("half-open", [place, late]) },
    {
      name: crawling,
      faults: [place, late].map((from) => ({ kind: "trickle", at: from, bytesPerSecond: 1 })),
    },
    {
      name: "500 ms late",
      faults: places.map((from) => ({ kind: "delay", at: from, delayMs: 500 })),
      mustMigrate: true,
    },
    { name: "a line or record lost, doubled, swapped", faults: units },
    {
      name: "an earlier one, or noise, before it",
      faults: [bytes.subarray(0, 100_000), ...unitsOf(bytes).slice(0, 1), random, Buffer.alloc(100_000, "x")].map(
        (inserted) => ({ kind: "insert", at: 0, bytes: Buffer.from(inserted) }),
      ),
    },
  ];
}

/** What passes when nobody attacks. */
export async function record(attack: WholeAttack, connection: Connection): Promise<{ [D in Direction]: Buffer }> {
  const clean = await attack.run({ connection, way: "forth", fault: { kind: "none" } }, { record: true });
  if (clean.outcome !== "migrated") throw new Error(`without an attack it does not migrate: ${clean.why}`);
  return { forth: Buffer.concat(clean.recorded.forth), back: Buffer.concat(clean.recorded.back) };
}

export async function strikeWhole(
  strikes: Strikes,
  options: { seed: number; few: number; clusters: number },
): Promise<void> {
  const attacks = await Promise.all(Array.from({ length: options.clusters }, () => WholeAttack.start()));
  try {
    const [first] = attacks;
    if (!first) return;
    for (const connection of connections) {
      const passed = await record(first, connection);
      for (const way of ways)
        for (const { name, faults, mustMigrate = false } of sortsOf(passed[way], options.seed, options.few))
          await strikes.carryOut(
            {
              name: `whole hosts, ${connection}, ${name}`,
              way,
              faults,
              limitMs: limitOf(connection, name),
              mustMigrate,
              isElsewhere: true,
              play: (fault, worker) =>
                play(attacks[worker] ?? first, { connection, way, fault }, limitOf(connection, name)),
            },
            attacks.length,
          );
    }
    await record(first, "stream"); // After all of it the guest migrates as ever.
  } finally {
    await Promise.all(attacks.map((attack) => attack.stop()));
  }
}

const crawling = "one byte per second";
const limitOf = (connection: Connection, name: string): number =>
  connection === "stream" && name === crawling ? crawlingLimitMs : usualLimitMs;

async function play(attack: WholeAttack, wire: Wire, limitMs: number): Promise<Ended> {
  try {
    return await attack.run(wire, { endsWithinMs: limitMs + 30_000 });
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : error}\n${attack.describe()}`);
  }
}
