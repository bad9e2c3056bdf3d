// Whether a move or a start can be made: every obstacle is named at once, before anything is written.

import type { HostFacts } from "../../schemas/host.ts";
import type { MigrationRequest } from "../../schemas/migration.ts";
import type { Problem, ProblemCode } from "../../schemas/problems.ts";
import type { VmSpec } from "../../schemas/vm.ts";
import type { Session, VmRecord } from "./records.ts";
import { hostTrouble, isAlive } from "./session.ts";

/** So many guests a host is given at most: what it tells and is told of them is measured for that. */
export const guestsPerHost = 1000;

/** What is known of a host, and what is promised to it; null where no such host has joined. */
export type HostStanding = {
  hostId: string;
  facts: HostFacts;
  session: Session;
  guests: number;
  promisedMiB: number;
} | null;

export function findObstacles(
  request: MigrationRequest,
  vm: VmRecord | null,
  destination: HostStanding,
  nowMs: number,
  /** Of the host that has the VM. */
  source: Session | null = null,
): Problem[] {
  const obstacles: Problem[] = [];
  if (request.mode === "quick") {
    obstacles.push({
      code: "mode-not-offered",
      detail: 'Mode "quick" is not offered yet; use "live".',
      errors: [{ pointer: "/mode", detail: 'only "live" is offered' }],
    });
  }
  if (request.destination === "auto") {
    obstacles.push({
      code: "placement-not-offered",
      detail: 'Destination "auto" is not offered yet; name a host.',
      errors: [{ pointer: "/destination", detail: "name a host of the cluster" }],
    });
  }
  obstacles.push(...vmObstacles(request, vm));
  if (vm?.owner && !vm.deleted) obstacles.push(...troubleOf(vm.owner.hostId, "/vm", source));
  if (request.destination !== "auto" && vm?.owner?.hostId !== request.destination) {
    obstacles.push(
      ...hostObstacles(
        request.destination,
        "/destination",
        vm?.deleted ? null : (vm?.spec ?? null),
        destination,
        nowMs,
      ),
    );
  }
  return obstacles;
}

function vmObstacles(request: MigrationRequest, vm: VmRecord | null): Problem[] {
  const at = (detail: string) => [{ pointer: "/vm", detail }];
  if (!vm) {
    const detail = `There is no VM "${request.vm}" in this cluster.`;
    return [{ code: "vm-unknown", detail, errors: at("name a VM of the cluster") }];
  }
  if (vm.deleted) {
    return [{ code: "vm-deleted", detail: `VM "${vm.vmId}" was deleted.`, errors: at("name a VM that exists") }];
  }
  const obstacles: Problem[] = [];
  if (vm.migrationId) {
    obstacles.push({
      code: "vm-already-migrating",
      detail: `Migration ${vm.migrationId} holds VM "${vm.vmId}"; wait until it is over or cancel it.`,
      errors: at("is being migrated"),
      holder: vm.migrationId,
    });
  }
  if ((vm.runState !== "running" && vm.runState !== "paused") || vm.wantedRunState === "stopped") {
    obstacles.push({
      code: "vm-not-running",
      detail: `VM "${vm.vmId}" is ${vm.runState}${vm.wantedRunState === "running" ? "" : `, wanted ${vm.wantedRunState}`}; only a VM that is running or paused can be migrated live.`,
      errors: at("must be running or paused"),
    });
  }
  if (vm.owner && vm.owner.hostId === request.destination) {
    obstacles.push({
      code: "same-host",
      detail: `VM "${vm.vmId}" is on host "${request.destination}" already.`,
      errors: [{ pointer: "/destination", detail: "must be another host" }],
    });
  }
  return obstacles;
}

function troubleOf(hostId: string, pointer: string, session: Session | null): Problem[] {
  const trouble = hostTrouble(session);
  if (trouble === null) return [];
  const detail = `Host "${hostId}" ${trouble}. Mend its disk; the guests that run there are untouched.`;
  return [
    { code: "host-cannot-journal", detail, errors: [{ pointer, detail: `its host "${hostId}" cannot journal` }] },
  ];
}

/** Every code that may bar a guest from a host. */
export const hostObstacleCodes = [
  "host-unknown",
  "host-not-alive",
  "host-cannot-journal",
  "hypervisor-mismatch",
  "too-many-guests",
  "destination-full",
] as const satisfies ProblemCode[];

/** What bars a guest from this host. */
export function hostObstacles(
  hostId: string,
  pointer: string,
  spec: VmSpec | null,
  host: HostStanding,
  nowMs: number,
): Problem[] {
  const at = (detail: string) => [{ pointer, detail }];
  if (!host) {
    const detail = `No host "${hostId}" has joined this cluster.`;
    return [{ code: "host-unknown", detail, errors: at("name a host of the cluster") }];
  }
  const obstacles: Problem[] = [];
  if (!isAlive(host.session, nowMs)) {
    const detail = `Host "${hostId}" has not renewed its lease; start its agent, or see what keeps it from the control plane.`;
    obstacles.push({ code: "host-not-alive", detail, errors: at("its lease has lapsed") });
  }
  obstacles.push(...troubleOf(hostId, pointer, host.session));
  if (!spec) return obstacles;
  if (host.facts.hypervisor.kind !== spec.hypervisor) {
    const detail = `Host "${hostId}" runs hypervisor "${host.facts.hypervisor.kind}"; the VM needs "${spec.hypervisor}".`;
    obstacles.push({ code: "hypervisor-mismatch", detail, errors: at(`must run "${spec.hypervisor}"`) });
  }
  if (host.guests >= guestsPerHost) {
    const detail = `Host "${hostId}" has ${host.guests} guests, with those that are to come; ${guestsPerHost} are the most. Choose another host, or move or stop a guest there.`;
    obstacles.push({ code: "too-many-guests", detail, errors: at(`has ${guestsPerHost} guests, the most`) });
  }
  const freeMiB = host.facts.memoryMiB - host.promisedMiB;
  if (freeMiB < spec.memoryMiB) {
    const detail = `Host "${hostId}" has ${Math.max(0, freeMiB)} MiB free of ${host.facts.memoryMiB}; the VM needs ${spec.memoryMiB}.`;
    obstacles.push({ code: "destination-full", detail, errors: at(`needs ${spec.memoryMiB} MiB free`) });
  }
  return obstacles;
}

/** One problem that names them all: the first one's code, the others as its errors. */
export function nameObstacles(obstacles: readonly Problem[]): Problem | null {
  const [first, ...others] = obstacles;
  if (!first || others.length === 0) return first ?? null;
  const errors = obstacles.flatMap(({ code, errors }) =>
    (errors ?? []).map(({ pointer, detail }) => ({ pointer, detail: `${code}: ${detail}` })),
  );
  const holder = obstacles.find((obstacle) => obstacle.holder)?.holder;
  const detail = obstacles.map((obstacle) => obstacle.detail).join(" ");
  return { code: first.code, detail, errors, ...(holder ? { holder } : {}) };
}
