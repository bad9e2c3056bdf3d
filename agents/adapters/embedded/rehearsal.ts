// What happens in a guest's pause happens once, in a process that has never done it: slow code. A process that is
// started ahead does it a few times on a machine that nobody needs.
import { applyBlocks, changedBlocks, finalFrame, readFinal, stateBlock } from "./frames.ts";
import type { V86Build } from "./v86-build.ts";
import { Vm } from "./vm.ts";

const frameHeaderBytes = 5;
const times = 6;

export async function rehearse(build: V86Build): Promise<void> {
  const vm = await Vm.build(16, build);
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
