// One x86 machine in this process: v86 behind the few things we need of it. No private name of v86 is touched: its
// WASM is instantiated here, and v86 is handed a copy of the exports with three of them wrapped.
import { V86, type V86Options } from "v86";
import type { VmSpec } from "../../../schemas/vm.ts";
import {
  adapt,
  type DeviceState,
  type RepairExports,
  type RepairName,
  readLostRegisters,
  repair,
} from "./device-state.ts";
import { selftestImage } from "./guest/selftest-image.ts";
import { Throttle } from "./throttle.ts";
import type { V86Build } from "./v86-build.ts";

export const pageBytes = 4096;
const vgaBytes = 256 * 1024;
const diskBytes = 4096;
const longestLine = 512;

type Exports = RepairExports & {
  main_loop(): number;
  is_memory_zeroed(address: number, length: number): number;
  zero_memory(address: number, length: number): void;
};

export type VmEnd = { how: "powered-off" | "crashed"; detail: string };
export type VmListener = { line(text: string): void; ended(end: VmEnd): void };

/** What the machine is built with; equal on both ends of a migration. */
export function vmSettings(spec: VmSpec): { [name: string]: string | number | boolean } {
  return {
    image: spec.image,
    memoryMiB: spec.memoryMiB,
    vgaKiB: vgaBytes / 1024,
    diskBytes,
    acpi: false,
    commandLine: commandLine(spec),
  };
}

const commandLine = (spec: VmSpec): string => `m${spec.memoryMiB} r${spec.dirtyMiBPerSecond} w${spec.workingSetMiB}`;

/** Where v86 puts what multiboot tells the image. */
const bootInfoAt = 31_744;
/** The image and what it is told lie below; all other memory is untouched until the guest runs. */
const loadedBytes = 2 * 1024 * 1024;

export class Vm {
  readonly memoryBytes: number;
  listener: VmListener = { line: () => undefined, ended: () => undefined };
  readonly #emulator: V86;
  readonly #exports: Exports;
  readonly #throttle: Throttle;
  readonly #switches: Switches;
  #stopping: Promise<void> | null = null;

  private constructor(memoryBytes: number, emulator: V86, exports: Exports, throttle: Throttle, switches: Switches) {
    this.memoryBytes = memoryBytes;
    this.#emulator = emulator;
    this.#exports = exports;
    this.#throttle = throttle;
    this.#switches = switches;
  }

  /** Builds the machine with its image loaded, executing nothing. What the image is told comes later.
   *  @throws when the memory cannot be had */
  static async build(memoryMiB: number, build: V86Build): Promise<Vm> {
    const throttle = new Throttle();
    const switches: Switches = { saving: false, restoring: false };
    let exports: Exports | null = null;
    let crash: (detail: string) => void = () => undefined;
    const options: V86Options = {
      wasm_fn: async (imports) => {
        exports = (await WebAssembly.instantiate(build.module, imports)).exports as unknown as Exports;
        return wrap(exports, throttle, switches, (detail) => crash(detail)) as unknown as WebAssembly.Exports;
      },
      memory_size: memoryMiB * 1024 * 1024,
      vga_memory_size: vgaBytes,
      // v86 cannot take a state back without a primary disk.
      hda: { buffer: new ArrayBuffer(diskBytes) },
      multiboot: { buffer: selftestImage().buffer },
      cmdline: " ",
      // Its timers would be in the source process's time.
      acpi: false,
      autostart: false,
      disable_keyboard: true,
      disable_mouse: true,
      disable_speaker: true,
      net_device: noNetwork,
    };
    const emulator = new V86(options);
    await new Promise<void>((resolve) => emulator.add_listener("emulator-loaded", () => resolve()));
    if (exports === null) throw new Error("v86 was loaded without its machine code");
    const vm = new Vm(memoryMiB * 1024 * 1024, emulator, exports, throttle, switches);
    crash = (detail) => vm.#end({ how: "crashed", detail });
    emulator.add_listener("serial0-output-byte", (byte) => vm.#printed(byte));
    // A processor that halts with interrupts off never wakes again.
    onHalt(emulator, () => vm.#halted());
    return vm;
  }

  /** Tells the image what it is to do. Before the first run only. */
  command(spec: VmSpec): void {
    const memory = this.memory();
    const textAt = memory.readUInt32LE(bootInfoAt + 16);
    memory.write(`${commandLine(spec)}\0`, textAt, "latin1");
  }

  /** Guest memory as it is now, not a copy. Take it again after every await: growing memory detaches it. */
  memory(): Buffer {
    const view = this.#emulator.read_memory(0, this.memoryBytes);
    return Buffer.from(view.buffer, view.byteOffset, view.byteLength);
  }

  /** Clears what building left in memory, so that it equals the empty memory a stream begins with. */
  clearMemory(): void {
    this.memory().fill(0, 0, loadedBytes);
  }

  async run(): Promise<void> {
    await this.#stopping;
    await this.#emulator.run();
  }

  /** No instruction executes once this returns. */
  stop(): void {
    if (!this.#emulator.is_running() || this.#stopping !== null) return;
    // The promise waits for v86's next timer, which may take long; the processor stands at the call.
    this.#stopping = this.#emulator.stop().then(() => {
      this.#stopping = null;
    });
  }

  throttle(percent: number): void {
    this.#throttle.set(percent);
  }

  type(text: string): void {
    this.#emulator.serial0_send(text);
  }

  /** Everything but memory. Call it between two slices of the processor, which is whenever our code runs. */
  async saveDevices(): Promise<DeviceState> {
    this.#switches.saving = true;
    try {
      const clockMs = performance.now();
      const registers = readLostRegisters(this.#exports.memory);
      const packed = new Uint8Array(await this.#emulator.save_state());
      return { packed, registers, clockMs };
    } finally {
      this.#switches.saving = false;
    }
  }

  /** Takes a state back, leaving memory as it is; the packed state is changed and kept. The guest's clock and timer go on as if `elapsedMs` had passed since
   *  it was saved. Only the tests of the repairs skip any.
   *  @throws when the state is malformed; the machine is then unusable */
  async restoreDevices(
    state: DeviceState,
    elapsedMs: number,
    skip: ReadonlySet<RepairName> = new Set(),
  ): Promise<void> {
    const restoredAt = performance.now();
    const tsc = adapt(state, this.memoryBytes, restoredAt - elapsedMs, skip);
    this.#switches.restoring = true;
    try {
      await this.#emulator.restore_state(state.packed.buffer);
    } finally {
      this.#switches.restoring = false;
    }
    const sinceSavedMs = elapsedMs + performance.now() - restoredAt;
    repair(this.#exports, state.registers, tsc + BigInt(Math.round(sinceSavedMs * 1e6)), skip);
  }

  #line = "";
  #lastLine = "";

  #printed(byte: number): void {
    if (byte !== 10) {
      if (this.#line.length < longestLine) this.#line += String.fromCharCode(byte);
      return;
    }
    this.#lastLine = this.#line;
    this.#line = "";
    this.listener.line(this.#lastLine);
  }

  #halted(): void {
    if (this.#lastLine === "OFF") this.#end({ how: "powered-off", detail: "the guest powered itself off" });
    else
      this.#end({ how: "crashed", detail: `the processor halted for good; last line: ${this.#lastLine.slice(0, 80)}` });
  }

  #end(end: VmEnd): void {
    this.stop();
    this.listener.ended(end);
  }

  async dispose(): Promise<void> {
    await this.#emulator.destroy();
  }
}

type Switches = { saving: boolean; restoring: boolean };

function wrap(exports: Exports, throttle: Throttle, switches: Switches, crash: (detail: string) => void): Exports {
  return {
    ...exports,
    main_loop() {
      const startedMs = performance.now();
      let sleepMs: number;
      try {
        sleepMs = exports.main_loop();
      } catch (error) {
        crash(`the machine stopped at a fault: ${String(error).slice(0, 200)}`);
        return 1;
      }
      // v86 spins through a wait of under a millisecond; an idle guest costs half as much without.
      if (sleepMs > 0 && sleepMs < 1) sleepMs = 1;
      return throttle.after(startedMs, performance.now(), sleepMs);
    },
    is_memory_zeroed: (address, length) => (switches.saving ? 1 : exports.is_memory_zeroed(address, length)),
    zero_memory(address, length) {
      if (!switches.restoring) exports.zero_memory(address, length);
    },
  };
}

// Two things that v86 knows and its types do not.
const noNetwork = { type: "none" } as unknown as NonNullable<V86Options["net_device"]>;
const onHalt = (emulator: V86, listener: () => void): void =>
  emulator.add_listener("cpu-event-halt" as "emulator-stopped", listener);
