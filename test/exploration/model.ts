// The model of a scenario: a world to begin with, and its parts as the explorer keeps them.
import type { VmRecord } from "../../functions/domain/records.ts";
import type { Model } from "./engine/explorer.ts";
import { type Options, stepsFrom } from "./steps/steps.ts";
import { startsOf } from "./steps/wishes.ts";
import { isSettled, nameOfRest } from "./world/checks.ts";
import { production, type Rules } from "./world/rules.ts";
import { backUp } from "./world/table.ts";
import { firstToken, type Guest, type Host, hostIds, type Move, type Table, type World } from "./world/world.ts";

const freshTable: Table = { state: "served", epoch: 0, backup: null, forgotten: [], settled: [] };

export type Setting = Options & {
  hosts: number;
  vms: number;
  /** The backup is of the beginning, and not of any time. */
  isBackedUpAtFirst?: boolean;
};

export function modelOf(setting: Setting, rules: Rules = production): Model<World> {
  const { hosts, vms, movesPerVm } = setting;
  const moves = vms * movesPerVm;
  return {
    initial: initialWorld(setting, rules),
    width: 1 + hosts + 2 * vms + 5 * moves,
    steps: (world, faults) => stepsFrom(world, faults, setting),
    parts(world) {
      const parts: (object | null)[] = [world.table, ...world.hosts, ...world.vms, ...world.guests];
      for (let m = 0; m < moves; m += 1) {
        const move = world.moves[m];
        if (move) parts.push(move.record, move.source, move.destination, move.queue, move.wire);
        else parts.push(null, null, null, null, null);
      }
      return parts;
    },
    assemble([table = null, ...parts]) {
      const world: World = {
        hosts: parts.slice(0, hosts) as Host[],
        vms: parts.slice(hosts, hosts + vms) as VmRecord[],
        guests: parts.slice(hosts + vms, hosts + 2 * vms) as Guest[],
        moves: [],
        table: table as Table | null,
        rules,
        harm: null,
      };
      for (let at = hosts + 2 * vms; at < parts.length && parts[at]; at += 5) {
        const [record, source, destination, queue, wire] = parts.slice(at, at + 5);
        world.moves.push({ record, source, destination, queue, wire } as Move);
      }
      return world;
    },
    harmOf: (world) => world.harm,
    isSettled,
    nameOfRest: (world) => restByBound(world, setting) ?? nameOfRest(world),
  };
}

/** All the starts that the bound has are used up, and a host is lost again. */
function restByBound(world: World, { features, startsPerVm }: Setting): string | null {
  const isSpent = world.vms.some((_, v) => startsOf(world, v) >= startsPerVm);
  const isGone = world.hosts.some(({ agent }) => agent === "gone");
  return features.has("operator") && isSpent && isGone ? "the bound leaves no other start to force" : null;
}

function initialWorld({ hosts, vms, features, isBackedUpAtFirst }: Setting, rules: Rules): World {
  const table: Table | null = features.has("restores") ? freshTable : null;
  const world: World = { vms: [], guests: [], hosts: [], moves: [], table, rules, harm: null };
  for (let v = 0; v < vms; v += 1) {
    const copyId = `copy_${"ab"[v]}`;
    // The second guest lives on the second host, where the first may go.
    const h = v % hosts;
    world.vms.push({
      vmId: `vm-${v + 1}`,
      spec: { hypervisor: "simulated", image: "selftest", memoryMiB: 16, dirtyMiBPerSecond: 1, workingSetMiB: 1 },
      wantedRunState: "running",
      runState: "running",
      stoppedBecause: null,
      owner: { hostId: hostIds[h] as string, copyId },
      fencingToken: firstToken,
      migrationId: null,
      deleteRequested: false,
      deleted: false,
      createdAt: 0,
      createdBy: "u",
    });
    world.guests.push({
      copies: [
        {
          id: copyId,
          host: h,
          machine: "running",
          isCurrent: true,
          isWatched: true,
          ...(table ? { lockToken: firstToken } : {}),
        },
      ],
      lock: { holder: copyId, copyId, fencingToken: firstToken, next: null },
      isExcused: false,
    });
  }
  for (let h = 0; h < hosts; h += 1) {
    world.hosts.push({
      agent: "up",
      isNewLife: false,
      isAway: false,
      isUnplugged: false,
      tokens: world.vms.map((_, v) => (v % hosts === h ? firstToken : 0)),
      slot: null,
      isDeclaredLost: false,
      isFrozen: false,
      isBehind: false,
      isLate: false,
      told: null,
    });
  }
  if (isBackedUpAtFirst) backUp(world);
  return world;
}
