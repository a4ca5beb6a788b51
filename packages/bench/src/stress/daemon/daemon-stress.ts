import { truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { QmpError } from '../../daemon/qmp-client.js';
import { ScratchDirectory } from '../../load/scratch-directory.js';
import { Random } from '../random.js';
import { figuresOf, LeakWatch, type ProcessFigures } from './process-figures.js';
import { SectorHistory } from './sector-history.js';
import { SoakDaemon } from './soak-daemon.js';
import { type GuestCounts, SoakGuest } from './soak-guest.js';

const DISKS = 4;
const SECTORS = 2048;
const SIZE_BYTES = SECTORS * 512;
const IOTHREADS = ['io0', 'io1', 'io2'];
/** Things done between two looks at what the daemon holds. */
const ACTIONS_A_ROUND = 60;
/** Rounds before anything counts. */
const WARM_UP = 6;
/** Rounds of a daemon's life, after which it is killed under load. */
const ROUNDS_A_LIFE = 40;

export interface DaemonStressOptions {
  readonly seed: number;
  /** Ends after so many rounds ... */
  readonly rounds: number;
  /** ... or the first round that ends after so many milliseconds. */
  readonly durationMs: number;
  /** Rounds of a daemon's life, after which it is killed under load; default 40. */
  readonly roundsALife?: number;
  /** For image files and sockets. */
  readonly directory: string;
  readonly onProgress?: (report: DaemonStressReport) => void;
}

/** How much was done. Whatever goes wrong is an exception. */
export interface DaemonStressReport extends GuestCounts {
  readonly seed: number;
  rounds: number;
  exported: number;
  removed: number;
  connected: number;
  vanished: number;
  moved: number;
  faults: number;
  pauses: number;
  iothreads: number;
  kills: number;
  /** What the daemon held first, after the warm-up, and last, with nothing in use; of its latest life. */
  daemon: { first: ProcessFigures | undefined; last: ProcessFigures | undefined };
  /** The same of this process. */
  guests: { first: ProcessFigures | undefined; last: ProcessFigures | undefined };
}

interface Disk {
  readonly node: string;
  readonly filename: string;
  readonly socket: string;
  readonly history: SectorHistory;
  /** How it was exported last; undefined while it is not. */
  exported: object | undefined;
  guest: SoakGuest | undefined;
  /** A request of its may never complete. */
  hangs: boolean;
}

/**
 * A storage daemon to which everything is done that its operators and its guests can do, while every sector that is read is
 * compared with what was written. All choices follow from the seed; what they meet does not.
 *
 * @throws Error at the first thing that is wrong: lost, done twice, done to the wrong sector, or kept
 */
export async function runDaemonStress(options: DaemonStressOptions): Promise<DaemonStressReport> {
  await using directory = await ScratchDirectory.create(options.directory, 'iothreads-soak-');
  const stress = new DaemonStress(options, directory.path);
  try {
    return await stress.run();
  } finally {
    await stress.end();
  }
}

class DaemonStress {
  readonly #options: DaemonStressOptions;
  readonly #directory: string;
  readonly #random: Random;
  readonly #disks: readonly Disk[];
  readonly #report: DaemonStressReport;
  readonly #ownLeaks = new LeakWatch('the front end', WARM_UP);
  #leaks = new LeakWatch('the daemon', WARM_UP);
  #daemon!: SoakDaemon;
  #failure: Error | undefined;
  /** Exports whose events have told that they are paused. */
  readonly #paused = new Set<string>();

  constructor(options: DaemonStressOptions, directory: string) {
    this.#options = options;
    this.#directory = directory;
    this.#random = new Random(options.seed);
    this.#disks = Array.from({ length: DISKS }, (_, i) => ({
      node: `disk${i}`,
      filename: join(directory, `disk${i}.img`),
      socket: join(directory, `disk${i}.sock`),
      history: new SectorHistory(SECTORS),
      exported: undefined,
      guest: undefined,
      hangs: false,
    }));
    const none = { first: undefined, last: undefined };
    this.#report = {
      seed: options.seed,
      rounds: 0,
      requests: 0,
      bytes: 0,
      failed: 0,
      verified: 0,
      exported: 0,
      removed: 0,
      connected: 0,
      vanished: 0,
      moved: 0,
      faults: 0,
      pauses: 0,
      iothreads: 0,
      kills: 0,
      daemon: none,
      guests: none,
    };
  }

  async run(): Promise<DaemonStressReport> {
    const { rounds, durationMs, roundsALife = ROUNDS_A_LIFE, onProgress } = this.#options;
    for (const { filename } of this.#disks) {
      await writeFile(filename, '');
      await truncate(filename, SIZE_BYTES);
    }
    await this.#start();
    const endMs = performance.now() + durationMs;
    for (let round = 1; round <= rounds && performance.now() < endMs; round++) {
      for (let action = 0; action < ACTIONS_A_ROUND; action++) {
        await this.#act();
        await setTimeout(this.#random.below(10));
        this.#expectWell();
        onProgress?.(this.#report);
      }
      if (round % roundsALife === 0) await this.#killAndGoOn();
      else await this.#rest();
      this.#report.rounds++;
    }
    await this.#rest();
    await this.#daemon.stop();
    return this.#report;
  }

  /** Whatever has happened: nothing is left running. */
  async end(): Promise<void> {
    await Promise.allSettled(this.#disks.flatMap(({ guest }) => guest?.vanish() ?? []));
    await this.#daemon?.kill();
  }

  #expectWell(): void {
    this.#daemon.expectAlive();
    if (this.#failure === undefined) return;
    throw new Error(`${this.#failure.message} (seed ${this.#options.seed})`, { cause: this.#failure });
  }

  async #start(): Promise<void> {
    this.#paused.clear();
    for (const disk of this.#disks) disk.hangs = false;
    this.#daemon = await SoakDaemon.start(this.#directory, (name, data) => {
      const { device, action } = data as { device?: string; action?: string };
      if (name !== 'BLOCK_IO_ERROR' || action !== 'stop' || device === undefined) return;
      if (!this.#paused.has(device)) this.#report.pauses++;
      this.#paused.add(device);
    });
    for (const id of IOTHREADS) await this.#command('object-add', { 'qom-type': 'iothread', id });
    for (const disk of this.#disks) {
      await this.#command('blockdev-add', {
        driver: 'blkdebug',
        'node-name': disk.node,
        image: { driver: 'file', filename: disk.filename },
      });
    }
    await this.#startOwnIOThread();
  }

  /** The daemon's own iothread comes with the first export that names none, and stays: from the beginning, so that it is no leak. */
  async #startOwnIOThread(): Promise<void> {
    const { node, socket } = this.#disks[0]!;
    const addr = { type: 'unix', path: socket };
    await this.#command('block-export-add', { type: 'vhost-user-blk', id: node, 'node-name': node, addr });
    await this.#command('block-export-del', { id: node });
  }

  #command(name: string, args: object = {}): Promise<unknown> {
    return this.#daemon.qmp.execute(name, args);
  }

  /** One of the things that can be done. */
  #act(): Promise<void> {
    const random = this.#random;
    const disk = random.pick(this.#disks);
    if (disk.guest === undefined) return this.#connect(disk);
    const choice = random.below(100);
    if (choice < 10) return this.#vanish(disk);
    if (choice < 20) return this.#leave(disk);
    if (choice < 40) return this.#move(disk);
    if (choice < 75) return this.#fault(disk);
    if (choice < 90) return this.#goOn(disk);
    return this.#addAndRemoveIOThread();
  }

  async #connect(disk: Disk): Promise<void> {
    if (disk.exported === undefined) await this.#export(disk);
    const { socket, history } = disk;
    disk.guest = await SoakGuest.connect(socket, history, this.#random, this.#report, (error) => {
      this.#failure ??= error;
    });
    this.#report.connected++;
  }

  async #export(disk: Disk): Promise<void> {
    const random = this.#random;
    disk.exported = {
      type: 'vhost-user-blk',
      id: disk.node,
      'node-name': disk.node,
      writable: true,
      addr: { type: 'unix', path: disk.socket },
      'num-queues': 3,
      writethrough: random.chance(0.3),
      iothread: random.chance(0.3) ? IOTHREADS : [random.pick(IOTHREADS)],
      ...(random.chance(0.5) ? { werror: 'stop', rerror: 'stop' } : {}),
    };
    await this.#command('block-export-add', disk.exported);
    this.#report.exported++;
  }

  /** Leaves nobody behind whose requests wait for something. */
  async #calm(disk: Disk): Promise<void> {
    await this.#command('x-blkdebug-set-rules', { 'node-name': disk.node, 'inject-error': [] });
    disk.hangs = false;
    await this.#continue(disk);
  }

  async #continue(disk: Disk): Promise<void> {
    this.#paused.delete(disk.node);
    await this.#command('cont', { id: disk.node });
  }

  async #vanish(disk: Disk): Promise<void> {
    await this.#calm(disk);
    await disk.guest!.vanish();
    disk.guest = undefined;
    this.#report.vanished++;
    if (this.#random.chance(0.5)) await this.#remove(disk);
  }

  async #leave(disk: Disk): Promise<void> {
    const leaving = disk.guest!.stop();
    // What fails meanwhile pauses it again.
    await this.#calm(disk);
    await this.#whileCalm(disk, leaving);
    disk.guest = undefined;
    if (this.#random.chance(0.5)) await this.#remove(disk);
  }

  /** Waits for guests; requests that failed before the rules were gone may pause a device once more. */
  async #whileCalm(disk: Disk, leaving: Promise<void>): Promise<void> {
    const left = leaving.then(() => true);
    do await this.#continue(disk);
    while (!(await Promise.race([left, setTimeout(50).then(() => false)])));
  }

  async #remove(disk: Disk): Promise<void> {
    await this.#command('block-export-del', { id: disk.node, mode: 'hard' });
    disk.exported = undefined;
    this.#report.removed++;
  }

  async #move(disk: Disk): Promise<void> {
    // It would be waited for until the daemon's deadline is over.
    if (disk.hangs) await this.#calm(disk);
    try {
      const iothread = this.#random.pick([...IOTHREADS, null]);
      await this.#command('x-blockdev-set-iothread', { 'node-name': disk.node, iothread });
      this.#report.moved++;
    } catch (error) {
      // A device that is paused is not moved.
      if (!(error instanceof QmpError)) throw error;
    }
  }

  async #fault(disk: Disk): Promise<void> {
    const random = this.#random;
    const rules: readonly object[] = [
      { 'delay-ns': 1_000_000 * (1 + random.below(20)) },
      { errno: 5, once: true },
      { errno: 28, iotype: 'write', count: 1 + random.below(20) },
      { errno: 5, probability: 0.1, count: 20 },
      { errno: 5, 'short-sectors': 1, count: 5 },
      { hang: true, once: true },
    ];
    const rule = random.pick(rules);
    await this.#command('x-blkdebug-set-rules', { 'node-name': disk.node, 'inject-error': [rule] });
    disk.hangs = 'hang' in rule;
    this.#report.faults++;
  }

  async #goOn(disk: Disk): Promise<void> {
    await this.#calm(disk);
  }

  async #addAndRemoveIOThread(): Promise<void> {
    await this.#command('object-add', { 'qom-type': 'iothread', id: 'passing' });
    await this.#command('query-iothreads');
    await this.#command('object-del', { id: 'passing' });
    this.#report.iothreads++;
  }

  /** Everybody leaves, all exports are removed: what is still held is a leak. */
  async #rest(): Promise<void> {
    for (const disk of this.#disks) {
      if (disk.guest !== undefined) {
        const leaving = disk.guest.stop();
        await this.#calm(disk);
        await this.#whileCalm(disk, leaving);
        disk.guest = undefined;
      }
      if (disk.exported !== undefined) await this.#remove(disk);
    }
    this.#expectWell();
    this.#leaks.add(figuresOf(this.#daemon.pid));
    this.#ownLeaks.add(figuresOf('self'));
    this.#report.daemon = { first: this.#leaks.first, last: this.#leaks.last };
    this.#report.guests = { first: this.#ownLeaks.first, last: this.#ownLeaks.last };
  }

  /** The daemon is killed with requests in flight; guests go on with the next one, and miss nothing. */
  async #killAndGoOn(): Promise<void> {
    for (const disk of this.#disks) if (disk.guest === undefined) await this.#connect(disk);
    await setTimeout(this.#random.below(50));
    await this.#daemon.kill();
    this.#report.kills++;
    await this.#start();
    this.#leaks = new LeakWatch('the daemon', WARM_UP);
    for (const disk of this.#disks) {
      await this.#command('block-export-add', disk.exported);
      await disk.guest!.frontEnd.reconnect(disk.socket);
    }
    await this.#rest();
  }
}
