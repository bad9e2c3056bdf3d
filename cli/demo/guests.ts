// The demo's guests: started, and asked how they are.
import type { GuestReport, Vm, VmSpec } from "../../schemas/vm.ts";
import type { Api } from "../api.ts";
import { CommandFailure } from "../exit.ts";

const lookEveryMs = 100;
const patienceMs = 60_000;

export async function startGuest(
  api: Api,
  cluster: string,
  vm: string,
  host: string,
  spec: Partial<VmSpec>,
): Promise<Vm & { guest: GuestReport }> {
  await api.defineVm(cluster, { vm, spec });
  await api.startVm(cluster, vm, host);
  return awaitReport(api, cluster, vm, `started on ${host}`, (found) => found.runState === "running");
}

/** The guest's first own report that suits.
 *  @throws CommandFailure when the guest ended, or does not report for a minute */
export async function awaitReport(
  api: Api,
  cluster: string,
  vm: string,
  since: string,
  suits: (vm: Vm & { guest: GuestReport }) => boolean,
): Promise<Vm & { guest: GuestReport }> {
  const deadline = performance.now() + patienceMs;
  for (;;) {
    const found = await api.getVm(cluster, vm);
    const { guest, runState, stoppedBecause } = found;
    if (runState === "stopped" && stoppedBecause)
      throw new CommandFailure(`${vm} stopped by itself: ${stoppedBecause}`);
    if (runState === "guest-lost") throw new CommandFailure(`${vm} is lost: ${stoppedBecause ?? "its memory is gone"}`);
    if (guest && suits({ ...found, guest })) return { ...found, guest };
    if (performance.now() > deadline) {
      const alarms = found.alarms.map(({ code, detail }) => `${code}: ${detail}`).join("; ");
      throw new CommandFailure(
        `${vm}, ${since}, has not reported for ${patienceMs / 1000} s; it is ${runState}${alarms ? `, with alarms ${alarms}` : ""}`,
      );
    }
    await new Promise((resolve) => setTimeout(resolve, lookEveryMs));
  }
}
