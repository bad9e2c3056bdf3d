// Which faults a scenario has, and how often: drawn from its seed. Each is off in most scenarios, so that a few of them
// meet in many ways; a scenario with all of them at once would only ever see the worst of them.
import { type AimName, aimNames, calledLost } from "./faults/aims.ts";
import type { OperatorManner } from "./faults/operator.ts";
import type { Random } from "./random.ts";

/** Of one call each, from 0 to 1. */
export const chances = {
  // between an agent and the control plane
  requestLost: [0.01, 0.3],
  answerLost: [0.01, 0.3],
  requestDelayed: [0.01, 0.2],
  requestDoubled: [0.01, 0.3],
  // between the control plane and the table
  tableAnswerLost: [0.005, 0.3],
  tableRequestLost: [0.005, 0.1],
  tableRequestLate: [0.005, 0.05],
  tableThrottled: [0.01, 0.2],
  tableConflict: [0.01, 0.2],
  tableTorn: [0.01, 0.2],
  tableSlow: [0.01, 0.2],
  // the queue
  ringLost: [0.1, 1],
  ringRepeated: [0.1, 1],
  ringLate: [0.1, 1],
  // between two agents
  messageDelayed: [0.01, 0.3],
  messageDoubled: [0.01, 0.3],
  // a process and its own disk, volume and hypervisor: ended before or after a call, or the call takes its time
  endsBeforeStep: [0.001, 0.02],
  endsAfterStep: [0.001, 0.02],
  stepTakesLong: [0.001, 0.05],
  writeFails: [0.001, 0.05],
  runRefused: [0.01, 0.5],
  runUnknown: [0.01, 0.3],
  launchFails: [0.01, 0.3],
  // something happens to one of the two hosts as a migration goes from one stage to the next
  atMoment: [0.01, 0.2],
} as const;

/** Times in a minute, over the whole cluster. */
export const rates = {
  agentDies: [0.2, 4],
  supervisorDies: [0.2, 4],
  guestDies: [0.05, 0.5],
  guestEnds: [0.05, 0.5],
  hostDies: [0.05, 1],
  controlPlaneDies: [0.2, 4],
  controlPlaneAway: [0.2, 2],
  hostCutOff: [0.2, 3],
  networkCut: [0.2, 4],
  networkOneWay: [0.2, 2],
  networkSlow: [0.2, 3],
  agentStalls: [0.2, 2],
  supervisorStalls: [0.2, 2],
  diskFull: [0.2, 2],
  volumeGone: [0.1, 1],
  wallJumps: [0.1, 2],
  tableGoesBack: [0.5, 4],
} as const;

export type FaultPlan = {
  chance: { -readonly [F in keyof typeof chances]: number };
  rate: { -readonly [F in keyof typeof rates]: number };
  /** What waits for its moment. */
  aims: AimName[];
  operator: OperatorManner;
  /** Of each host's clock, at most. */
  drift: number;
};

const isOnChance = 0.2;

export function drawPlan(random: Random): FaultPlan {
  // One scenario in ten is without any fault, one in ten has many.
  const mood = random.next();
  const share = mood < 0.1 ? 0 : mood > 0.9 ? 0.5 : isOnChance;
  const draw = ([least, most]: readonly [number, number]) =>
    random.chance(share) ? least * (most / least) ** random.next() : 0;
  const plan: FaultPlan = {
    // The moments that matter are few and short: most scenarios with faults have some at them.
    chance: { ...mapValues(chances, draw), atMoment: share > 0 && random.chance(0.5) ? random.between(0.02, 0.2) : 0 },
    rate: mapValues(rates, draw),
    aims: share > 0 && random.chance(0.4) ? [random.pick(aimNames)] : [],
    operator: share > 0 && random.chance(0.16) ? random.pick(["truthful", "lying"] as const) : "never",
    drift: random.chance(0.5) ? 0.0005 : 0,
  };
  const whole = withVictims(plan, random);
  return random.fork("hosts called lost").chance(share > 0 ? calledLostChance : 0) ? callingHostsLost() : whole;
}

/** By themselves: what they come to is seldom enough. */
const calledLostChance = 0.03;

const lostLate: AimName = "destination lost once it has committed";

/** An operator needs hosts to declare lost. Where that is a lie, what holds the lock files lives: should it die as well,
 *  nothing would be left that could tell a lie from the truth. */
function withVictims(plan: FaultPlan, random: Random): FaultPlan {
  const { chance, rate, operator } = plan;
  if (operator === "never") return plan;
  const often = { ...rate, hostDies: random.between(1, 3) };
  const aims = random.chance(0.5) ? [...plan.aims, lostLate] : plan.aims;
  if (operator === "truthful") return { ...plan, rate: often, aims };
  return {
    ...plan,
    aims,
    chance: { ...chance, endsBeforeStep: 0, endsAfterStep: 0 },
    rate: { ...often, hostCutOff: random.between(1, 4), supervisorDies: 0 },
  };
}

/** Hosts are called lost by mistake while their cluster recovers, and come back one after the other. */
export function callingHostsLost(): FaultPlan {
  return { ...noFaults(), aims: [calledLost], operator: "patient" };
}

export function noFaults(): FaultPlan {
  return {
    chance: mapValues(chances, () => 0),
    rate: mapValues(rates, () => 0),
    aims: [],
    operator: "never",
    drift: 0,
  };
}

/** These faults alone, each as often as is said: `tableAnswerLost=0.3,hostDies=1`.
 *  @throws with the names there are, or a name's bounds */
export function planOf(text: string): FaultPlan {
  const plan = noFaults();
  for (const part of text.split(",")) {
    const [name = "", often = ""] = part.split("=");
    const value = Number(often);
    if (name in plan.chance) {
      if (!(value > 0 && value <= 1)) throw new Error(`${name}: above 0, at most 1 (of each call), not "${often}"`);
      plan.chance[name as keyof typeof chances] = value;
    } else if (name in plan.rate) {
      if (!(value > 0 && value <= 60)) throw new Error(`${name}: above 0, at most 60 (a minute), not "${often}"`);
      plan.rate[name as keyof typeof rates] = value;
    } else
      throw new Error(
        `"${name}" is no fault; there are ${[...Object.keys(chances), ...Object.keys(rates)].join(", ")}`,
      );
  }
  return plan;
}

function mapValues<K extends string, V, R>(of: { readonly [P in K]: V }, change: (value: V) => R): { [P in K]: R } {
  return Object.fromEntries(Object.entries<V>(of).map(([name, value]) => [name, change(value)])) as { [P in K]: R };
}

/** What is on, for people. */
export function describePlan(plan: FaultPlan): string {
  const on = Object.entries({ ...plan.chance, ...plan.rate }).filter(([, value]) => value > 0);
  const often = on.map(([name, value]) => `${name} ${value.toPrecision(2)}`);
  const operator = plan.operator === "never" ? [] : [`a ${plan.operator} operator`];
  return [...often, ...plan.aims, ...operator].join(", ") || "no faults";
}
