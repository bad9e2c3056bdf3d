// Every route of the API; what is not here is not served.
import type { Route } from "../http/route.ts";
import { claimRoute } from "./agent-claim.ts";
import { doorbellRoute } from "./agent-doorbell.ts";
import { heartbeatRoute } from "./agent-heartbeat.ts";
import { inventoryRoute } from "./agent-inventory.ts";
import { recordRoute } from "./agent-record.ts";
import { reportRoute } from "./agent-report.ts";
import { cancelMigrationRoute } from "./cancel-migration.ts";
import { createClusterRoute } from "./create-cluster.ts";
import { createJoinTokenRoute } from "./create-join-token.ts";
import { createKeyRoute } from "./create-key.ts";
import { declareHostLostRoute } from "./declare-host-lost.ts";
import { defineVmRoute } from "./define-vm.ts";
import { deleteVmRoute } from "./delete-vm.ts";
import { forceVmRoute } from "./force-vm.ts";
import { getClusterRoute } from "./get-cluster.ts";
import { getHostRoute } from "./get-host.ts";
import { getMigrationRoute } from "./get-migration.ts";
import { getVmRoute } from "./get-vm.ts";
import { health } from "./health.ts";
import { joinRoute } from "./join.ts";
import { listHostsRoute } from "./list-hosts.ts";
import { listKeysRoute } from "./list-keys.ts";
import { listMigrationsRoute } from "./list-migrations.ts";
import { listVmsRoute } from "./list-vms.ts";
import { pauseVmRoute } from "./pause-vm.ts";
import { requestMigrationRoute } from "./request-migration.ts";
import { resetVmRoute } from "./reset-vm.ts";
import { resumeVmRoute } from "./resume-vm.ts";
import { revokeKeyRoute } from "./revoke-key.ts";
import { startVmRoute } from "./start-vm.ts";
import { stopVmRoute } from "./stop-vm.ts";
import { waitMigrationRoute } from "./wait-migration.ts";

export const routes: Route[] = [
  claimRoute,
  doorbellRoute,
  heartbeatRoute,
  inventoryRoute,
  recordRoute,
  reportRoute,
  cancelMigrationRoute,
  createClusterRoute,
  createJoinTokenRoute,
  createKeyRoute,
  declareHostLostRoute,
  defineVmRoute,
  deleteVmRoute,
  forceVmRoute,
  getClusterRoute,
  getHostRoute,
  getMigrationRoute,
  getVmRoute,
  health,
  joinRoute,
  listHostsRoute,
  listKeysRoute,
  listMigrationsRoute,
  listVmsRoute,
  pauseVmRoute,
  requestMigrationRoute,
  resetVmRoute,
  resumeVmRoute,
  revokeKeyRoute,
  startVmRoute,
  stopVmRoute,
  waitMigrationRoute,
];
