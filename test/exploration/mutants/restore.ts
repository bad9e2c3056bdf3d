// The table goes back: who notices, who stands still, what is told, and what the records are drawn from.
import type { Rules } from "../world/rules.ts";
import { habit, type Mutant } from "./mutant.ts";

/** Of the migration the backup knows nothing, which is quick to find harm with. */
const small = { hosts: 2, isBackedUpAtFirst: true };

/** The records are drawn from something else than what all hosts told. */
const drawnFrom =
  (see: (standing: Parameters<Rules["recoverVm"]>[0]) => Parameters<Rules["recoverVm"]>[0]) =>
  (rules: Rules): Rules => ({ ...rules, recoverVm: (standing, context) => rules.recoverVm(see(standing), context) });

export const restoreMutants: Mutant[] = [
  {
    name: "table-unnoticed",
    rule: "the table goes back: every request carries the host's counter, so that an agent notices by itself",
    change: habit({ noticesTheTable: false }),
    features: ["restores"],
    setting: small,
  },
  {
    name: "decides-while-recovering",
    rule: "the table goes back: no verdict, start, resume or destruction until it is open again",
    change: habit({ standsStill: false }),
    features: ["restores"],
    setting: small,
  },
  {
    name: "tells-before-it-halts",
    rule: "the table goes back: a host stands still before it tells what it has",
    change: habit({ haltsFirst: false }),
    features: ["restores"],
    setting: small,
  },
  {
    name: "opens-early",
    rule: "the table goes back: until every host has reported",
    change: habit({ awaitsAll: false }),
    features: ["restores"],
    setting: small,
  },
  {
    name: "thaws-with-its-agent",
    rule: "the table goes back: a host that stands still does so also after its agent died",
    change: habit({ staysFrozen: false }),
    features: ["restores", "agents"],
    faults: 1,
    only: /host-[ab]/,
    setting: small,
  },
  {
    name: "epoch-not-raised",
    rule: "the table goes back: tokens carry a restore epoch as their high part",
    change: (rules) => ({
      ...rules,
      recoverVm: (standing, context) => rules.recoverVm(standing, { ...context, restoreEpoch: 0 }),
    }),
    features: ["restores"],
    setting: small,
  },
  {
    name: "tokens-forgotten",
    rule: "the table goes back: the next token is above the highest that any host has seen",
    // The epoch would outrank them all the same.
    change: (rules) => ({
      ...habit({ raisesTheFloor: false })(rules),
      recoverVm: (standing, context) =>
        rules.recoverVm({ ...standing, highestToken: 0 }, { ...context, restoreEpoch: 0 }),
    }),
    features: ["restores", "refusals"],
    faults: 1,
    only: /destination/,
    setting: small,
  },
  {
    name: "table-believed",
    rule: "the table goes back: who ran last is the owner, not whom the backup names",
    change: (rules) => ({
      ...rules,
      recoverVm(standing, context) {
        const recovered = rules.recoverVm(standing, context);
        const owner = standing.vm?.owner ?? null;
        return recovered && { ...recovered, vm: { ...recovered.vm, owner } };
      },
    }),
    features: ["restores"],
    setting: small,
  },
  {
    name: "may-have-run-forgotten",
    rule: "the table goes back: a destination that may have run, by its journal or its copy's remains, ran last",
    change: drawnFrom((standing) => ({
      ...standing,
      inventory: {
        ...standing.inventory,
        copies: standing.inventory.copies.filter(({ machine }) => machine !== "ended"),
        parts: standing.inventory.parts.map((part) => ({ ...part, runIntent: 0, runRefused: 0 })),
      },
    })),
    features: ["restores", "reboots"],
    faults: 1,
    only: /host-b/,
    setting: small,
  },
  {
    name: "parts-not-told",
    rule: "the table goes back: hosts tell their journals, also of migrations that the backup does not know",
    change: drawnFrom((standing) => ({ ...standing, inventory: { ...standing.inventory, parts: [] } })),
    features: ["restores"],
    setting: small,
  },
  {
    name: "duties-not-drawn",
    rule: "8, the table goes back: a copy that others have left behind is told to go",
    change: (rules) => ({
      ...rules,
      recoverVm(standing, context) {
        const recovered = rules.recoverVm(standing, context);
        return recovered && { ...recovered, duties: [] };
      },
    }),
    features: ["restores", "journals"],
    faults: 1,
    only: /host-b/,
    setting: small,
  },
  {
    name: "slots-not-drawn",
    rule: "9, the table goes back: a host that is not done with a migration holds its slot",
    change: (rules) => ({ ...rules, recoverSlot: (_c, _h, before) => ({ ...before, migration: null }) }),
    features: ["restores", "journals"],
    faults: 1,
    only: /host-b/,
    setting: small,
  },
];
