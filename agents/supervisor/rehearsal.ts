// A supervisor kept ahead plays one whole life of a copy beforehand, on a scratch folder and a machine that does
// nothing, so that its code is compiled and its files' way to the disk is warm. Code that runs for the first time would
// lie within a guest's pause.
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { holdExclusively } from "../adapters/exclusive-file.ts";
import { FileGate } from "../adapters/file-gate.ts";
import { SealedLog } from "../adapters/sealed-log.ts";
import { SqliteLockFiles } from "../adapters/sqlite-lock-file.ts";
import { systemClock } from "../adapters/system-clock.ts";
import type { CopyRequest } from "../ports/copies.ts";
import type { Hypervisor, Machine, MachineState } from "../ports/hypervisor.ts";
import { CopyMemo } from "./memo.ts";
import { launchCopy } from "./open-copy.ts";
import { Call } from "./protocol.ts";

const lives = 3;
const noUlid = "0".repeat(26);
const stream = { migrationId: `mig_${noUlid}`, key: new Uint8Array(32) };

/** @param folder on the disk of the copies to come; its agent removes it when this process is killed meanwhile */
export async function rehearse(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true, mode: 0o700 });
  try {
    for (let life = 0; life < lives; life += 1) await playLife(join(folder, `${life}`), folder, life);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function playLife(gates: string, folder: string, life: number): Promise<void> {
  const request: CopyRequest = {
    vmId: `rehearsal-${life}`,
    copyId: `copy_${noUlid}`,
    spec: { hypervisor: "embedded", image: "selftest", memoryMiB: 16, dirtyMiBPerSecond: 0, workingSetMiB: 1 },
    arriving: life % 2 === 1,
    migrationId: null,
  };
  const memoLog = new SealedLog(join(folder, `copy-${life}.json`));
  const alive = await holdExclusively(join(folder, `alive-${life}`));
  const supervisor = await launchCopy(request, {
    hypervisor: idleHypervisor(),
    lockFiles: new SqliteLockFiles(folder),
    gate: new FileGate(gates),
    clock: systemClock,
    memory: { write: (memo) => memoLog.write(JSON.stringify(CopyMemo.parse(memo))) },
    directory: folder,
  });
  Call.parse({ id: 1, method: "holdAtGate", agentSilenceMs: 1000 });
  await supervisor.run(1);
  await supervisor.permitNext({ copyId: request.copyId });
  const endpoint = { address: "127.0.0.1", port: 1 };
  await supervisor.send({
    ...stream,
    endpoint,
    localAddress: "127.0.0.1",
    limits: { bandwidthLimitBytesPerSecond: null },
  });
  await supervisor.holdAtGate(60_000);
  await supervisor.passGate();
  await supervisor.run(2);
  await supervisor.status();
  await supervisor.destroy();
  memoLog.close();
  alive?.close();
}

/** Machines without a guest, which do at once whatever they are told. */
function idleHypervisor(): Hypervisor {
  return {
    kind: "embedded",
    version: async () => ({ kind: "rehearsal", version: "" }),
    warm: async () => {},
    launch: async () => idleMachine(),
    adopt: async () => null,
    close: async () => {},
  };
}

function idleMachine(): Machine {
  let state: MachineState = "held";
  return {
    reference: { pid: 0, startedAt: "", socket: "" },
    state: async () => state,
    run: async () => {
      state = "running";
      return { kind: "running" };
    },
    stop: async () => {
      state = "stopped";
    },
    reset: async () => {},
    settings: async () => ({}),
    receive: async () => ({ address: "127.0.0.1", port: 1 }),
    send: async () => {},
    finish: async () => {},
    cancel: async () => {},
    throttle: async () => {},
    destroy: async () => {
      state = "ended";
    },
    listen: () => () => {},
    detach: () => {},
  };
}
