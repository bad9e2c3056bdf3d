// What a guest is apart from its memory, and what v86 loses when it takes such a state back.
//   R1  `set_state` replaces the views of last_result, the x87 status word and mxcsr instead of writing through them:
//       a conditional jump goes the wrong way, and a second save stores stale values. Carried apart and written back.
//   R2  The x87 control word comes back without the rounding and precision behind it: the export sets all three.
//   R3  `set_tsc` ignores the offset already in force: the guest's clock jumps. The value that cancels it is given.
//   R4  The timer's start times are the source process's milliseconds: moved to this process's.
// A fifth fault (no restore at all without a primary disk) is avoided by always giving one; see vm.ts.
import { openState } from "./packed-state.ts";

export type RepairName = "result-and-status" | "rounding" | "clock" | "timer";

/** Bytes inside the WASM memory that v86 0.5.462 keeps processor registers in. */
const lastResultAt = 112;
const mxcsrAt = 824;
const controlWordAt = 1036;
const statusWordAt = 1040;

/** Registers that v86's own state does not bring back. */
export type LostRegisters = { lastResult: number; mxcsr: number; statusWord: number };

export type DeviceState = {
  /** As v86 packs it, with no page of memory in it. */
  packed: Uint8Array<ArrayBuffer>;
  registers: LostRegisters;
  /** The source process's monotonic clock when it was taken, ms; the timer's start times are on it. */
  clockMs: number;
};

/** The exports that the repairs call. */
export type RepairExports = {
  memory: WebAssembly.Memory;
  set_control_word(word: number): void;
  set_tsc(low: number, high: number): void;
  read_tsc(): bigint;
};

export function readLostRegisters(memory: WebAssembly.Memory): LostRegisters {
  const view = new DataView(memory.buffer);
  return {
    lastResult: view.getUint32(lastResultAt, true),
    mxcsr: view.getUint32(mxcsrAt, true),
    statusWord: view.getUint16(statusWordAt, true),
  };
}

const memorySizeSlot = 0;
const pitSlot = 58;
const startTimesSlot = 7;
const clockSlot = 43;

type Layout = { tscAt: number; startTimesAt: number };

/** Where two things stand inside a packed state. @throws when it is not a state of this format */
function readLayout(packed: Uint8Array, memoryBytes: number): Layout {
  const { slots, buffers } = openState(packed);
  const find = (reference: unknown, bytes: number): number => {
    const id = (reference as { buffer_id?: unknown } | null | undefined)?.buffer_id;
    const entry = typeof id === "number" ? buffers[id] : undefined;
    if (entry === undefined || entry.length !== bytes)
      throw new Error("the v86 state is not laid out as this build lays it out");
    return entry.at;
  };
  if (slots[memorySizeSlot] !== memoryBytes) throw new Error("the v86 state is of a machine with another memory");
  const pit = slots[pitSlot];
  return {
    tscAt: find(slots[clockSlot], 8),
    startTimesAt: find(Array.isArray(pit) ? pit[startTimesSlot] : undefined, 24),
  };
}

/** Moves the timer of a packed state to this process's clock.
 *  @param memoryBytes of the machine that is to take it: v86 would believe the state's own word
 *  @param clockMs what `clockMs` of the state is on this process's clock
 *  @returns the guest's clock when it was saved, ns
 *  @throws when the state is malformed */
export function adapt(state: DeviceState, memoryBytes: number, clockMs: number, skip: ReadonlySet<RepairName>): bigint {
  const { packed } = state;
  const { tscAt, startTimesAt } = readLayout(packed, memoryBytes);
  const view = viewOf(packed);
  if (!skip.has("timer"))
    for (const at of timersAt(startTimesAt))
      view.setFloat64(at, view.getFloat64(at, true) - state.clockMs + clockMs, true); // R4
  return view.getBigUint64(tscAt, true);
}

/** The guest's clock, ns, and the start times of its timers, on the clock of the process that saved them, ms. */
export function readClocks(packed: Uint8Array, memoryBytes: number): { tsc: bigint; startTimesMs: number[] } {
  const { tscAt, startTimesAt } = readLayout(packed, memoryBytes);
  const view = viewOf(packed);
  return {
    tsc: view.getBigUint64(tscAt, true),
    startTimesMs: timersAt(startTimesAt).map((at) => view.getFloat64(at, true)),
  };
}

const timersAt = (at: number): number[] => [at, at + 8, at + 16];
const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** What must follow v86's own restore.
 *  @param tsc the guest's clock as it must read now, ns */
export function repair(
  exports: RepairExports,
  registers: LostRegisters,
  tsc: bigint,
  skip: ReadonlySet<RepairName>,
): void {
  const view = new DataView(exports.memory.buffer);
  if (!skip.has("result-and-status")) {
    view.setUint32(lastResultAt, registers.lastResult, true); // R1
    view.setUint32(mxcsrAt, registers.mxcsr, true);
    view.setUint16(statusWordAt, registers.statusWord, true);
  }
  if (!skip.has("rounding")) exports.set_control_word(view.getUint16(controlWordAt, true)); // R2
  if (!skip.has("clock")) {
    const now = BigInt.asUintN(64, exports.read_tsc());
    const offset = BigInt(Math.round(performance.now() * 1e6)) - now;
    const cancelling = BigInt.asUintN(64, tsc - offset); // R3
    exports.set_tsc(Number(cancelling & 0xffff_ffffn), Number(cancelling >> 32n));
  }
}
