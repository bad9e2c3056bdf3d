// What happens in a guest's pause happens once, in a process that has never done it: slow code. A process that is
// started ahead does it a few times with a machine that nobody needs, and lets that machine execute for a moment:
// v86's own code is as slow at first, and a guest that arrives would feel it.
import { Call } from "./control-protocol.ts";
import { applyBlocks, changedBlocks, finalFrame, Hello, readFinal, readJson, stateBlock } from "./frames.ts";
import { rehearseHandshake } from "./secure-stream.ts";
import type { V86Build } from "./v86-build.ts";
import { Vm } from "./vm.ts";

const frameHeaderBytes = 5;
const times = 6;
const executeLines = 1;
const executeAtMostMs = 1500;

export async function rehearse(build: V86Build): Promise<void> {
  await rehearseHandshake();
  rehearseWords(build);
  const vm = await Vm.build(16, build);
  vm.command({ hypervisor: "embedded", image: "selftest", memoryMiB: 16, dirtyMiBPerSecond: 10, workingSetMiB: 1 });
  await executeAwhile(vm);
  for (let time = 0; time < times; time++) {
    const { packed, registers, clockMs } = await vm.saveDevices();
    const blocks = changedBlocks(packed, new Uint8Array());
    const head = { pages: 0, stateBytes: packed.length, blocks, registers, clockMs, savedAtMs: Date.now() };
    const sent = finalFrame(
      head,
      blocks.map((block) => stateBlock(packed, block)),
    );
    const read = readFinal(sent.subarray(frameHeaderBytes));
    const arrived = applyBlocks(new Uint8Array(), read.head, read.blocks);
    await vm.restoreDevices({ packed: arrived, registers, clockMs }, 0);
  }
  await vm.dispose();
}

/** The first reading of each shape compiles its reader. */
function rehearseWords(build: V86Build): void {
  const hello = {
    protocol: 1,
    migrationId: "",
    v86: build.version,
    wasmSha256: build.wasmSha256,
    settings: { acpi: false },
  };
  readJson(Hello, Buffer.from(JSON.stringify(hello)));
  const stream = { migrationId: "", key: "" };
  const endpoint = { address: "", port: 1 };
  const limits = { bandwidthLimitBytesPerSecond: null };
  Call.parse({ id: 0, method: "receive", stream: { ...stream, address: "", peerAddress: "" } });
  Call.parse({ id: 0, method: "send", stream: { ...stream, endpoint, localAddress: "", limits } });
  Call.parse({ id: 0, method: "state" });
}

async function executeAwhile(vm: Vm): Promise<void> {
  let lines = 0;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, executeAtMostMs);
    const line = (): void => {
      if (++lines < executeLines) return;
      clearTimeout(timer);
      resolve();
    };
    vm.listener = { line, ended: () => resolve() };
    void vm.run();
  });
  vm.stop();
}
