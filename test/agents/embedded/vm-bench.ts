// Machines in the test's own process, for what must be looked at from inside.
import type { DeviceState, RepairName } from "../../../agents/adapters/embedded/device-state.ts";
import { readStatusLine, type StatusLine } from "../../../agents/adapters/embedded/guest-report.ts";
import { loadV86Build } from "../../../agents/adapters/embedded/v86-build.ts";
import { Vm, type VmEnd } from "../../../agents/adapters/embedded/vm.ts";
import type { VmSpec } from "../../../schemas/vm.ts";
import { smallSpec } from "./bench.ts";

export class WatchedVm {
  readonly vm: Vm;
  readonly lines: StatusLine[] = [];
  end: VmEnd | null = null;
  #wake: () => void = () => undefined;

  constructor(vm: Vm) {
    this.vm = vm;
    vm.listener = {
      line: (text) => {
        const line = readStatusLine(text);
        if (line !== null) this.lines.push(line);
        this.#wake();
      },
      ended: (end) => {
        this.end = end;
        this.#wake();
      },
    };
  }

  static async build(changes: Partial<VmSpec> = {}): Promise<WatchedVm> {
    const spec = { ...smallSpec, ...changes };
    const vm = await Vm.build(spec.memoryMiB, await loadV86Build());
    vm.command(spec);
    return new WatchedVm(vm);
  }

  /** The line after which `suits` holds, of those to come. */
  async line(suits: (line: StatusLine) => boolean = () => true): Promise<StatusLine> {
    for (let from = this.lines.length; ; from = this.lines.length) {
      await this.change();
      const found = this.lines.slice(from).find(suits);
      if (found !== undefined) return found;
      if (this.end !== null) throw new Error(`the guest ended: ${this.end.detail}`);
    }
  }

  change(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }
}

/** The guest goes on in another machine, as after a migration.
 *  @param beforeRestore what happens to the state on its way */
export async function moveOver(
  source: WatchedVm,
  skip: ReadonlySet<RepairName> = new Set(),
  beforeRestore: (state: DeviceState) => void = () => undefined,
): Promise<WatchedVm> {
  const destination = await WatchedVm.build({ memoryMiB: source.vm.memoryBytes / 2 ** 20 });
  destination.vm.clearMemory();
  source.vm.stop();
  source.vm.memory().copy(destination.vm.memory());
  const state = await source.vm.saveDevices();
  beforeRestore(state);
  await destination.vm.restoreDevices(state, 0, skip);
  return destination;
}
