import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import type { QmpClient } from '../../daemon/qmp-client.js';
import { ScratchDirectory } from '../../load/scratch-directory.js';
import { Random } from '../random.js';
import { type DaemonStressReport, newReport } from './daemon-stress-report.js';
import { Diary } from './diary.js';
import { LeakWatch } from './leak-watch.js';
import { passIOThread } from './passing-iothread.js';
import { figuresOf, residentMib } from './process-figures.js';
import { SoakDaemon } from './soak-daemon.js';
import { type DiskKind, IOTHREADS, SECTORS, StressedDisk, type Surroundings } from './stressed-disk.js';

export type { DaemonStressReport };

const SIZE_BYTES = SECTORS * 512;
/** Things done to each disk between two looks at what the daemon holds. */
const ACTIONS_A_ROUND = 15;
const ACTIONS_A_KILL = 6;
const WARM_UP = 6;
/** Rounds between two looks at memory: before it garbage is collected, and that takes its time. */
const ROUNDS_A_LOOK = 8;
/** The share of the time that one daemon lives; in the rest daemons are killed. */
const LONG_LIFE = 0.75;

export interface DaemonStressOptions {
  readonly seed: number;
  /** Rounds of the daemon that lives longest, and how often daemons are killed after that ... */
  readonly rounds: number;
  readonly kills: number;
  /** ... or as many as fit into so many milliseconds, three quarters of them for the former. */
  readonly durationMs: number;
  /** Rounds before anything that is held counts; default 6. */
  readonly warmUp?: number;
  /** For image files and sockets. */
  readonly directory: string;
  readonly onProgress?: (report: DaemonStressReport) => void;
}

/**
 * A storage daemon to which everything is done that its operators and its guests can do, much of it at once, while every sector
 * that is read is compared with what was written. All choices follow from the seed; what they meet does not.
 *
 * @throws Error at the first thing that is wrong: lost, done twice, done to the wrong sector, or kept
 */
export async function runDaemonStress(options: DaemonStressOptions): Promise<DaemonStressReport> {
  await using directory = await ScratchDirectory.create(options.directory, 'iothreads-soak-');
  const stress = new DaemonStress(options, directory.path);
  try {
    return await stress.run();
  } catch (error) {
    throw stress.explain(error as Error);
  } finally {
    await stress.end();
  }
}

async function createDisks(directory: string): Promise<DiskKind[]> {
  const kinds: DiskKind[] = [];
  for (const options of [{}, { aio: 'threads' }, { cache: { direct: true } }]) {
    const filename = join(directory, `disk${kinds.length}.img`);
    await writeFile(filename, '');
    await truncate(filename, SIZE_BYTES);
    kinds.push({ blockdev: { driver: 'file', filename, ...options }, volatile: false });
  }
  return [...kinds, { blockdev: { driver: 'memory', size: SIZE_BYTES }, volatile: true }];
}

class DaemonStress {
  readonly #options: DaemonStressOptions;
  readonly #random: Random;
  readonly #leaks: LeakWatch;
  readonly #ownLeaks: LeakWatch;
  readonly #report: DaemonStressReport;
  readonly #diary = new Diary();
  readonly #surroundings: Surroundings;
  #disks: readonly StressedDisk[] = [];
  #daemon: SoakDaemon | undefined;
  #failure: Error | undefined;

  constructor(options: DaemonStressOptions, directory: string) {
    const { seed, warmUp = WARM_UP } = options;
    this.#options = options;
    this.#random = new Random(seed);
    this.#leaks = new LeakWatch('the daemon', warmUp);
    this.#ownLeaks = new LeakWatch('the front end', warmUp);
    this.#report = newReport(seed, this.#leaks, this.#ownLeaks);
    const onFailure = (error: Error): void => {
      this.#failure ??= error;
    };
    this.#surroundings = { directory, report: this.#report, diary: this.#diary, onFailure };
  }

  async run(): Promise<DaemonStressReport> {
    const { rounds, kills, durationMs } = this.#options;
    const kinds = await createDisks(this.#surroundings.directory);
    this.#disks = kinds.map(
      (kind, i) => new StressedDisk(`disk${i}`, kind, this.#random.fork(), this.#surroundings),
    );
    const beganMs = performance.now();
    const goesOn = (share: number): boolean => performance.now() - beganMs < share * durationMs;
    await this.#start();
    for (let round = 0; round < rounds && goesOn(LONG_LIFE); round++) await this.#round();
    this.#leaks.finish();
    this.#ownLeaks.finish();
    await this.#stop();

    // What is gone with the daemon can't be compared with what was written before.
    this.#disks = this.#disks.filter((disk) => !disk.volatile);
    await this.#start();
    for (let kill = 0; kill < kills && goesOn(1); kill++) await this.#killAndGoOn();
    await Promise.all(this.#disks.map((disk) => disk.rest()));
    await this.#stop();
    return this.#report;
  }

  /** Whatever has happened: nothing is left running. */
  async end(): Promise<void> {
    await Promise.allSettled(this.#disks.map((disk) => disk.end()));
    await this.#daemon?.kill();
  }

  /** @returns the error with what is needed to understand it */
  explain({ message, stack }: Error): Error {
    const log = this.#daemon?.log ?? '';
    const error = new Error(
      `${message} (seed ${this.#options.seed})\nDone last:\n${String(this.#diary)}\nThe daemon's log ends:\n${log}`,
    );
    // The stack of what went wrong, not of here; it begins with its message.
    if (stack !== undefined) error.stack = `${error.message}\n${stack}`;
    return error;
  }

  /** A daemon that knows its iothreads and nothing else. */
  async #start(): Promise<void> {
    this.#diary.note('start the daemon');
    // One for each disk, one for the operator, and one that is always free.
    const daemon = await SoakDaemon.start(
      this.#surroundings.directory,
      this.#disks.length + 2,
      (name, data) => {
        if (name !== 'BLOCK_IO_ERROR' || (data as { action: string }).action !== 'stop') return;
        this.#report.pauses++;
      },
    );
    this.#daemon = daemon;
    for (const [i, disk] of this.#disks.entries()) disk.serveWith(daemon.monitors[i + 2]!, this.#rescue);
    for (const id of IOTHREADS) await this.#operator.execute('object-add', { 'qom-type': 'iothread', id });
    // The daemon's own iothread comes when it is first asked for, and stays: from the beginning, so that it is no leak.
    await this.#operator.execute('blockdev-add', { driver: 'null-co', 'node-name': 'nobodys', size: 512 });
    await this.#operator.execute('x-blockdev-set-iothread', { 'node-name': 'nobodys', iothread: null });
    await this.#operator.execute('blockdev-del', { 'node-name': 'nobodys' });
  }

  async #stop(): Promise<void> {
    this.#expectWell();
    this.#diary.note('stop the daemon');
    await this.#daemon!.stop();
    this.#daemon = undefined;
  }

  get #rescue(): QmpClient {
    return this.#daemon!.monitors[0]!;
  }

  get #operator(): QmpClient {
    return this.#daemon!.monitors[1]!;
  }

  #expectWell(): void {
    this.#daemon?.expectAlive();
    if (this.#failure !== undefined) throw this.#failure;
  }

  /** Something is done to all disks at once; then nothing is in use. */
  async #round(): Promise<void> {
    const names = this.#disks.map(({ name }) => name);
    const random = this.#random.fork();
    await Promise.all([
      passIOThread(this.#operator, names, random, this.#surroundings),
      ...this.#disks.map((disk) => this.#actOn(disk, ACTIONS_A_ROUND)),
    ]);
    await Promise.all(this.#disks.map((disk) => disk.rest()));
    this.#expectWell();
    await this.#leaks.add(() => figuresOf(this.#daemon!.pid));
    await this.#ownLeaks.add(() => figuresOf('self'));
    if (this.#report.rests++ % ROUNDS_A_LOOK === 0) await this.#lookAtMemory();
  }

  async #lookAtMemory(): Promise<void> {
    // Ours as well, where the process was started for that.
    globalThis.gc?.();
    await this.#daemon!.collectGarbage();
    this.#leaks.addMemory(residentMib(this.#daemon!.pid));
    this.#ownLeaks.addMemory(residentMib('self'));
  }

  async #actOn(disk: StressedDisk, actions: number): Promise<void> {
    const random = this.#random.fork();
    for (let action = 0; action < actions; action++) {
      await disk.act();
      await setTimeout(random.below(30));
      this.#expectWell();
      this.#options.onProgress?.(this.#report);
    }
  }

  /** The daemon is killed with requests in flight, paused and hanging; guests go on with the next one, and miss nothing. */
  async #killAndGoOn(): Promise<void> {
    await Promise.all(this.#disks.map((disk) => this.#actOn(disk, ACTIONS_A_KILL)));
    await Promise.all(this.#disks.map((disk) => disk.connect()));
    await setTimeout(this.#random.below(50));
    this.#expectWell();
    this.#diary.note('kill the daemon');
    await this.#daemon!.kill();
    this.#report.kills++;
    await this.#start();
    await Promise.all(this.#disks.map((disk) => disk.goOn()));
  }
}
