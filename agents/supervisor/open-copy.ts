// How a supervisor comes to its copy: it builds a new one, or takes over one whose supervisor died.
import { durable } from "../durable-step.ts";
import type { CopyRequest } from "../ports/copies.ts";
import type { CopyMemo } from "./memo.ts";
import { Supervisor, type SupervisorPorts } from "./supervisor.ts";

/** Builds the guest, which executes nothing yet.
 *  @throws when it cannot be built; no guest is left behind */
export async function launchCopy(request: CopyRequest, ports: SupervisorPorts): Promise<Supervisor> {
  const memo: CopyMemo = { request, machine: null, lockToken: null, leaving: null, ended: null };
  await durable("memo:begun", () => ports.memory.write(memo));
  const { vmId, copyId, spec, arriving } = request;
  const machine = await durable("guest:launched", () =>
    ports.hypervisor.launch({ vmId, copyId, spec, arriving, directory: ports.directory }),
  );
  const built = { ...memo, machine: machine.reference };
  try {
    await durable("memo:built", () => ports.memory.write(built));
  } catch (error) {
    await machine.destroy();
    throw error;
  }
  return new Supervisor(built, machine, ports);
}

/** Finds the guest again, retakes its lock file, and completes what was decided. */
export async function recoverCopy(memo: CopyMemo, ports: SupervisorPorts): Promise<Supervisor> {
  const machine = memo.machine ? await ports.hypervisor.adopt(memo.machine) : null;
  if (machine) {
    const supervisor = new Supervisor(memo, machine, ports);
    await supervisor.settle();
    return supervisor;
  }
  const detail = memo.machine ? "its process ended while nobody watched" : "its supervisor ended before it was built";
  const ended = { ...memo, ended: memo.ended ?? { how: "killed" as const, detail } };
  await durable("memo:found-ended", () => ports.memory.write(ended));
  return new Supervisor(ended, null, ports);
}
