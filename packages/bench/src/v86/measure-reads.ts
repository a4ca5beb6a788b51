import { IOThreadRuntime } from '@iothreads/iothread';
import { attachDisk, guestMemory } from '@iothreads/v86';
import { Guest, loadGuestKit } from '../v86-guest/index.js';
import { IdeDrive } from './ide-drive.js';
import { SameThreadDisk } from './same-thread-disk.js';

/** How a guest reads. */
export interface Pattern {
  readonly name: string;
  readonly blockBytes: number;
  readonly random: boolean;
  /** Reads of a run: some tens of milliseconds. */
  readonly count: number;
}

export const PATTERNS: readonly Pattern[] = [
  { name: '4 KiB random', blockBytes: 4 << 10, random: true, count: 1000 },
  { name: '64 KiB in order', blockBytes: 64 << 10, random: false, count: 500 },
  { name: '512 KiB in order', blockBytes: 512 << 10, random: false, count: 120 },
];

/** The disks of one machine, by what the guest calls them. */
export const DISKS = [
  { device: 'sda', name: "v86's IDE, asynchronous reads" },
  { device: 'sdb', name: "v86's IDE, synchronous reads" },
  { device: 'vda', name: "virtio in the emulator's thread" },
  { device: 'vdb', name: 'iothread, woken up' },
  { device: 'vdc', name: 'iothread, pulled' },
] as const;

export interface ReadCell {
  readonly disk: string;
  readonly pattern: string;
  /** Microseconds a read, one for each run, by the host's clock. */
  readonly read_us: readonly number[];
}

export interface V86BenchPlan {
  readonly image: string;
  readonly imageBytes: number;
  /** What guests run: `disk-read`. */
  readonly program: Uint8Array;
  readonly runs: number;
  readonly tick: (what: string) => void;
}

/** The guest's kernel has these as modules. */
const IDE_MODULES = ['ata_piix', 'sd_mod'];
/** Much longer than a guest takes between two requests: to wake up a sleeping iothread may take the emulator's thread longer than a read. */
export const POLL_MAX_NS = 4_000_000;
/** v86 compiles the guest's code, and the engine what v86 has compiled, as they find out what is used often. */
export const WARM_UP_RUNS = 3;
/** Not the one that xorshift stays at. */
export const SEED = 2463534242;

/** Boots one guest with all the disks over the same image, and has it read from each in turn. */
export async function measureReads(plan: V86BenchPlan): Promise<ReadCell[]> {
  const { image, imageBytes, program, runs, tick } = plan;
  tick('boot');
  await using runtime = new IOThreadRuntime();
  using asynchronous = new IdeDrive(image, false);
  using synchronous = new IdeDrive(image, true);
  const at = new Map<string, number>();
  await using guest = await Guest.boot(loadGuestKit(IDE_MODULES), {
    files: { 'bin/disk-read': program },
    // Its types know files and buffers alone.
    machine: { hda: asynchronous as never, hdb: synchronous as never },
    attach: async (machine) => {
      const memory = guestMemory(machine);
      attachDisk(machine, new SameThreadDisk(image, memory));
      for (const completion of ['wake', 'pull'] as const) {
        // Of its own: sharing has a price, which is another question.
        await runtime.addIOThread({ id: `iothread-${completion}`, pollMaxNs: POLL_MAX_NS });
        const device = await runtime.addDevice({
          id: completion,
          iothread: `iothread-${completion}`,
          drive: { driver: 'file', filename: image },
          readOnly: true,
          memory,
          completion,
        });
        attachDisk(machine, device);
      }
    },
    onTold: (name) => at.set(name, performance.now()),
  });

  const cells = DISKS.flatMap((disk) =>
    PATTERNS.map((pattern) => ({ disk, pattern, read_us: [] as number[] })),
  );
  // In turn, so that a slow moment of the machine's is everybody's.
  for (let run = -WARM_UP_RUNS; run < runs; run++) {
    for (const { disk, pattern, read_us } of cells) {
      tick(`${disk.name}, ${pattern.name}`);
      const { blockBytes, count, random } = pattern;
      const span = imageBytes / blockBytes;
      await guest.run(`disk-read /dev/${disk.device} ${blockBytes} ${count} ${span} ${random ? SEED : 0}`);
      if (run >= 0) read_us.push(((at.get('ended')! - at.get('began')!) * 1000) / count);
    }
  }
  await guest.powerOff();
  return cells.map(({ disk, pattern, read_us }) => ({ disk: disk.name, pattern: pattern.name, read_us }));
}
