import {
  STATISTICS_KINDS,
  IOThreadRuntime,
  type DeviceOptions,
  type VqMappingOptions,
} from '@iothreads/iothread';
import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { createGuestMemory } from '../load/guest-layout.js';
import { ScratchDirectory } from '../load/scratch-directory.js';
import { BLOCK_BYTES, DiskModel } from './disk-model.js';
import { Random } from './random.js';
import { StressGuest } from './stress-guest.js';

const BLOCKS = 64;
const MAX_DEVICES = 10;
const MAX_QUEUES = 3;
/** A device without any completion for so long, with requests in flight, has lost one. */
const HANG_MS = 30_000;

export interface StressOptions {
  readonly seed: number;
  /** Ends after so many completed requests ... */
  readonly requests: number;
  /** ... or so many milliseconds, whichever comes first. */
  readonly durationMs: number;
  readonly iothreads: number;
  /** For image files. */
  readonly directory: string;
  readonly onProgress?: (report: StressReport) => void;
}

/** How much was done. Whatever goes wrong is an exception. */
export interface StressReport {
  readonly seed: number;
  requests: number;
  added: number;
  removed: number;
  moved: number;
  drained: number;
  reset: number;
}

/** A disk that outlives the devices which serve it. */
interface Disk {
  readonly drive: DeviceOptions['drive'];
  readonly model: DiskModel;
  inUse: boolean;
}

/**
 * Shares iothreads among many devices, does everything to them that the runtime offers while requests are in flight, and
 * checks every byte that is read against a model. All choices follow from the seed.
 *
 * @throws Error at the first thing that is wrong: lost, done twice, done to the wrong block, or counted wrongly
 */
export async function runStress(options: StressOptions): Promise<StressReport> {
  await using directory = await ScratchDirectory.create(options.directory, 'iothreads-stress-');
  await using runtime = new IOThreadRuntime();
  const stress = new Stress(options, runtime, await createDisks(directory.path));
  return await stress.run();
}

async function createDisks(directory: string): Promise<Disk[]> {
  const disks: Disk[] = [];
  for (let i = 0; i < MAX_DEVICES; i++) {
    const model = new DiskModel(BLOCKS);
    if (i % 2 === 0) {
      const drive = { driver: 'memory', buffer: new SharedArrayBuffer(BLOCKS * BLOCK_BYTES) } as const;
      disks.push({ drive, model, inUse: false });
    } else {
      const filename = join(directory, `disk${i}.img`);
      await writeFile(filename, '');
      await truncate(filename, BLOCKS * BLOCK_BYTES);
      disks.push({ drive: { driver: 'file', filename }, model, inUse: false });
    }
  }
  return disks;
}

class Stress {
  readonly #options: StressOptions;
  readonly #random: Random;
  readonly #runtime: IOThreadRuntime;
  readonly #disks: readonly Disk[];
  readonly #guests = new Map<StressGuest, Disk>();
  /** What is being done to devices meanwhile; one thing at a time for each. */
  readonly #pending = new Map<string, Promise<void>>();
  readonly #report: StressReport;
  #failure: unknown;
  #count = 0;

  constructor(options: StressOptions, runtime: IOThreadRuntime, disks: readonly Disk[]) {
    this.#options = options;
    this.#random = new Random(options.seed);
    this.#runtime = runtime;
    this.#disks = disks;
    this.#report = { seed: options.seed, requests: 0, added: 0, removed: 0, moved: 0, drained: 0, reset: 0 };
    runtime.on('deviceError', (id, error) => {
      this.#failure ??= new Error(`device '${id}': ${error.message}`, { cause: error });
    });
  }

  async run(): Promise<StressReport> {
    const { iothreads, durationMs, requests } = this.#options;
    await this.#runtime.configure({
      // Polling and sleeping loops, both.
      iothreads: Array.from({ length: iothreads }, (_, i) => ({
        id: `iothread${i}`,
        pollMaxNs: i % 2 === 0 ? 32768 : 0,
      })),
    });
    for (let i = 0; i < MAX_DEVICES / 2; i++) await this.#add();
    const endMs = performance.now() + durationMs;
    while (performance.now() < endMs && this.#report.requests < requests) {
      this.#step();
      await nextTurn();
      if (this.#random.chance(0.02)) this.#act();
    }
    await this.#finish();
    return this.#report;
  }

  /** One round of requests on every device. */
  #step(): void {
    if (this.#failure !== undefined) throw this.#failure;
    let sum = 0;
    for (const guest of this.#guests.keys()) {
      const before = guest.completed;
      guest.step();
      sum += guest.completed - before;
    }
    this.#report.requests += sum;
    if (sum > 0) this.#options.onProgress?.(this.#report);
  }

  /** Does something to a device while its requests are in flight. */
  #act(): void {
    const idle = [...this.#guests.keys()].filter(({ id }) => !this.#pending.has(id));
    const dice = this.#random.below(100);
    if (dice < 15 && this.#guests.size < MAX_DEVICES) this.#inBackground('new', () => this.#add());
    else if (idle.length === 0) return;
    else {
      const guest = this.#random.pick(idle);
      if (dice < 25 && this.#guests.size > 2) this.#inBackground(guest.id, () => this.#remove(guest));
      else if (dice < 75) this.#inBackground(guest.id, () => this.#move(guest));
      else if (dice < 85) this.#inBackground(guest.id, () => this.#drain(guest));
      else this.#inBackground(guest.id, () => this.#reset(guest));
    }
  }

  #inBackground(key: string, action: () => Promise<void>): void {
    if (this.#pending.has(key)) return;
    const done = action().then(
      () => {
        this.#pending.delete(key);
      },
      (error: unknown) => {
        this.#failure ??= error;
      },
    );
    this.#pending.set(key, done);
  }

  async #add(): Promise<void> {
    const disk = this.#disks.find(({ inUse }) => !inUse);
    if (disk === undefined) return;
    disk.inUse = true;
    const memory = createGuestMemory();
    const numQueues = 1 + this.#random.below(MAX_QUEUES);
    const place = this.#place(numQueues);
    const device = await this.#runtime.addDevice({
      id: `disk${this.#count++}`,
      ...(typeof place === 'string' ? { iothread: place } : { iothreadVqMapping: place }),
      drive: disk.drive,
      memory,
      numQueues,
    });
    const depth = 1 + this.#random.below(12);
    const guest = new StressGuest({ device, memory, model: disk.model, random: this.#random, depth });
    await guest.start();
    this.#guests.set(guest, disk);
    this.#report.added++;
  }

  /** An iothread, or several with the queues dealt out among them. */
  #place(numQueues: number): string | VqMappingOptions[] {
    const { iothreads } = this.#options;
    const first = this.#random.below(iothreads);
    const spread = 1 + this.#random.below(Math.min(numQueues, iothreads));
    if (spread === 1) return `iothread${first}`;
    return Array.from({ length: spread }, (_, i) => ({ iothread: `iothread${(first + i) % iothreads}` }));
  }

  async #move(guest: StressGuest): Promise<void> {
    await this.#runtime.moveDevice(guest.id, this.#place(guest.device.virtio.numQueues));
    this.#report.moved++;
  }

  async #drain(guest: StressGuest): Promise<void> {
    await this.#runtime.drainDevice(guest.id);
    this.#report.drained++;
  }

  async #remove(guest: StressGuest): Promise<void> {
    guest.paused = true;
    await this.#runtime.removeDevice(guest.id);
    this.#report.requests += this.#forsake(guest);
    this.#guests.get(guest)!.inUse = false;
    this.#guests.delete(guest);
    this.#report.removed++;
  }

  async #reset(guest: StressGuest): Promise<void> {
    guest.paused = true;
    guest.device.virtio.writeStatus(0);
    await guest.device.settled();
    if (guest.device.virtio.status !== 0) throw new Error(`${guest.id}: its status is not 0 after a reset`);
    this.#report.requests += this.#forsake(guest);
    await guest.start();
    this.#report.reset++;
  }

  #forsake(guest: StressGuest): number {
    const before = guest.completed;
    guest.forsake();
    return guest.completed - before;
  }

  /** Lets everything come to an end, and compares what the runtime counted with what the guests saw. */
  async #finish(): Promise<void> {
    await Promise.all(this.#pending.values());
    for (const guest of this.#guests.keys()) guest.paused = true;
    const endMs = performance.now() + HANG_MS;
    const busy = (): StressGuest[] => [...this.#guests.keys()].filter(({ inFlight }) => inFlight > 0);
    while (busy().length > 0) {
      this.#step();
      await nextTurn();
      if (performance.now() > endMs) {
        const lost = busy().map(({ id, inFlight }) => `${id}: ${inFlight}`);
        throw new Error(`requests never completed (${lost.join(', ')})`);
      }
    }
    if (this.#failure !== undefined) throw this.#failure;
    await this.#checkWakeups();
    for (const stats of await this.#runtime.queryBlockStats()) {
      const guest = [...this.#guests.keys()].find(({ id }) => id === stats.id)!;
      const operations = STATISTICS_KINDS.reduce((sum, kind) => sum + stats[kind].operations, 0);
      if (operations !== guest.completed || stats.invalid !== 0) {
        throw new Error(
          `${stats.id}: the runtime counted ${operations} requests and ${stats.invalid} invalid ones, ` +
            `its guest saw ${guest.completed}`,
        );
      }
    }
  }

  /** The slow re-check hides lost wake-ups from the guests, not from here. A kick that was just being made may look lost. */
  async #checkWakeups(): Promise<void> {
    for (const { id, loop } of await this.#runtime.queryIOThreads()) {
      if (loop.lostWakeups <= 5 + loop.sleeps / 100) continue;
      throw new Error(`${id}: ${loop.lostWakeups} wake-ups were lost in ${loop.sleeps} sleeps`);
    }
  }
}
