import { IOThreadRuntime } from '@iothreads/iothread';
import { attachDisk, guestMemory } from '@iothreads/v86';
import { Guest, loadGuestKit } from '../v86-guest/index.js';
import { POLL_MAX_NS, SEED, type V86BenchPlan } from './measure-reads.js';
import { SameThreadDisk } from './same-thread-disk.js';

const LATENCY_MS = 1;
const BLOCK_BYTES = 4096;
/** Reads of a slow disk: some tenths of a second. */
const SLOW_READS = 200;
const QUICK_READS = 1000;

/** The guest's processor is busy; meanwhile somebody reads, or nobody does. */
const PROGRESS = [
  { what: 'while nobody reads', device: undefined },
  { what: 'while a disk of 1 ms in its thread is read', device: 'vda' },
  { what: 'while a disk of 1 ms in an iothread is read', device: 'vdb' },
] as const;

const TOGETHER = [
  { what: 'disks of 1 ms', devices: ['vdb', 'vdc'], count: SLOW_READS },
  { what: 'cached files', devices: ['vdd', 'vde'], count: QUICK_READS },
] as const;

/** What is done in each run. */
export const SLOW_STEPS = PROGRESS.length + TOGETHER.length * 2;

interface ProgressCell {
  readonly what: string;
  /** Millions of instructions of the guest's a second, one for each run. */
  readonly mips: readonly number[];
}

interface TogetherCell {
  readonly what: string;
  /** Reads a second of one disk, one for each run ... */
  readonly alone: readonly number[];
  /** ... and of two that are read at once, both counted. */
  readonly both: readonly number[];
}

export interface SlowResults {
  readonly progress: readonly ProgressCell[];
  readonly together: readonly TogetherCell[];
}

/** A moment in the guest. */
interface Moment {
  readonly ms: number;
  readonly instructions: number;
}

/** Boots a guest with slow disks, in the emulator's thread and in iothreads, and with two quick ones. */
export async function measureSlowDisks(plan: V86BenchPlan): Promise<SlowResults> {
  const { image, imageBytes, program, runs, tick } = plan;
  tick('boot');
  await using runtime = new IOThreadRuntime();
  const began: Moment[] = [];
  const ended: Moment[] = [];
  await using guest = await Guest.boot(loadGuestKit(), {
    files: { 'bin/disk-read': program },
    attach: async (machine) => {
      const memory = guestMemory(machine);
      attachDisk(machine, new SameThreadDisk(image, memory, LATENCY_MS));
      const slow = { driver: 'null', size: imageBytes, latencyNs: LATENCY_MS * 1e6 } as const;
      const file = { driver: 'file', filename: image } as const;
      // One iothread: beside the emulator's thread there may be no third core.
      await runtime.addIOThread({ id: 'iothread0', pollMaxNs: POLL_MAX_NS });
      for (const [index, drive] of [slow, slow, file, file].entries()) {
        const device = await runtime.addDevice({
          id: `disk${index}`,
          iothread: 'iothread0',
          drive,
          readOnly: true,
          memory,
          completion: 'pull',
        });
        attachDisk(machine, device);
      }
    },
    onTold: (name) => {
      if (name !== 'began' && name !== 'ended') return;
      const moment = { ms: performance.now(), instructions: guest.machine.get_instruction_counter() };
      (name === 'began' ? began : ended).push(moment);
    },
  });
  const read = (device: string, count: number): string =>
    `disk-read /dev/${device} ${BLOCK_BYTES} ${count} ${imageBytes / BLOCK_BYTES} ${SEED}`;
  const run = async (what: string, script: string): Promise<{ from: Moment; to: Moment }> => {
    tick(what);
    began.length = 0;
    ended.length = 0;
    await guest.run(script);
    return { from: began[0]!, to: ended[ended.length - 1]! };
  };

  const progress = PROGRESS.map(({ what, device }) => ({ what, device, mips: [] as number[] }));
  const together = TOGETHER.map((each) => ({ ...each, alone: [] as number[], both: [] as number[] }));
  for (let i = 0; i < runs; i++) {
    for (const { what, device, mips } of progress) {
      const work =
        device === undefined ? 'result began 1; sleep 0.3; result ended 1' : read(device, SLOW_READS);
      const { from, to } = await run(what, `while :; do :; done & busy=$!\n${work}\nkill $busy`);
      // The counter has 32 bits.
      mips.push(((to.instructions - from.instructions) >>> 0) / (to.ms - from.ms) / 1000);
    }
    for (const { what, devices, count, alone, both } of together) {
      const one = await run(`one of ${what}`, read(devices[0], count));
      alone.push((count * 1000) / (one.to.ms - one.from.ms));
      const two = await run(what, `${devices.map((device) => `${read(device, count)} &`).join(' ')} wait`);
      both.push((count * 2000) / (two.to.ms - two.from.ms));
    }
  }
  await guest.powerOff();
  return {
    progress: progress.map(({ what, mips }) => ({ what, mips })),
    together: together.map(({ what, alone, both }) => ({ what, alone, both })),
  };
}
