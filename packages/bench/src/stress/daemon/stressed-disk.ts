import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { type QmpClient, QmpError } from '../../daemon/qmp-client.js';
import type { Random } from '../random.js';
import type { DaemonStressReport } from './daemon-stress-report.js';
import type { Diary } from './diary.js';
import { pickFault } from './faults.js';
import { SectorHistory } from './sector-history.js';
import { SoakGuest } from './soak-guest.js';

/** Iothreads that stay. */
export const IOTHREADS = ['io0', 'io1', 'io2'];
export const SECTORS = 2048;

const QUERIES = [
  'query-blockstats',
  'query-block-exports',
  'query-named-block-nodes',
  'query-iothreads',
] as const;

/** What is below the faults of a disk. */
export interface DiskKind {
  readonly blockdev: object;
  /** What it holds is gone with its node. */
  readonly volatile: boolean;
}

/** Whom the disks of a run have in common. */
export interface Surroundings {
  readonly directory: string;
  readonly report: DaemonStressReport;
  readonly diary: Diary;
  readonly onFailure: (error: Error) => void;
}

/** One disk of a daemon: everything that is done to its node, its export and its guest, one thing after the other. */
export class StressedDisk {
  readonly name: string;
  readonly volatile: boolean;
  readonly #blockdev: object;
  readonly #socket: string;
  readonly #random: Random;
  readonly #surroundings: Surroundings;
  readonly #history = new SectorHistory(SECTORS);
  /** For what may take its time. */
  #monitor!: QmpClient;
  /** Shared, and free: for what ends the waits of others. */
  #rescue!: QmpClient;
  #hasNode = false;
  /** How it was exported last; undefined while it is not. */
  #exported: object | undefined;
  #guest: SoakGuest | undefined;

  constructor(name: string, { blockdev, volatile }: DiskKind, random: Random, surroundings: Surroundings) {
    this.name = name;
    this.volatile = volatile;
    this.#blockdev = blockdev;
    this.#socket = join(surroundings.directory, `${name}.sock`);
    this.#random = random;
    this.#surroundings = surroundings;
  }

  /** There is a daemon, which knows nothing of this disk. */
  serveWith(monitor: QmpClient, rescue: QmpClient): void {
    this.#monitor = monitor;
    this.#rescue = rescue;
    this.#hasNode = false;
    if (this.volatile) this.#history.reset();
  }

  /** One of the things that can be done. */
  async act(): Promise<void> {
    const random = this.#random;
    const guest = this.#guest;
    if (guest === undefined) return this.connect();
    const choice = random.below(100);
    if (choice < 8) return this.#vanish(guest);
    if (choice < 14) return this.#removeUnderLoad(guest);
    if (choice < 22) return this.#leave(guest);
    if (choice < 40) return this.#move();
    if (choice < 72) return this.#fault();
    if (choice < 88) return this.#calm();
    return this.#query();
  }

  /** Has a guest connect, unless there is one. */
  async connect(): Promise<void> {
    if (this.#guest !== undefined) return;
    await this.#export();
    this.#note('connect');
    const { report, onFailure } = this.#surroundings;
    const failed = (error: Error): void => {
      onFailure(new Error(`${this.name}: ${error.message}`, { cause: error }));
    };
    this.#guest = await SoakGuest.connect(this.#socket, this.#history, this.#random.fork(), report, failed);
    report.connected++;
  }

  /** Nobody uses it any more, and the daemon knows nothing of it. */
  async rest(): Promise<void> {
    if (this.#guest !== undefined) await this.#letGo(this.#guest);
    await this.#remove();
    await this.#deleteNode();
  }

  /** The daemon was killed; there is another one (`serveWith`), and the guest goes on with that. */
  async goOn(): Promise<void> {
    const exported = this.#exported;
    this.#exported = undefined;
    if (this.#guest === undefined) return;
    await this.#export(exported);
    this.#note('reconnect');
    await this.#guest.frontEnd.reconnect(this.#socket);
  }

  /** Leaves no guest behind, whatever has happened. */
  async end(): Promise<void> {
    await this.#guest?.vanish();
    this.#guest = undefined;
  }

  #note(what: string): void {
    this.#surroundings.diary.note(`${this.name}: ${what}`);
  }

  async #addNode(): Promise<void> {
    if (this.#hasNode) return;
    this.#note('add node');
    const { name, volatile } = this;
    const image = this.#blockdev;
    await this.#monitor.execute('blockdev-add', { driver: 'blkdebug', 'node-name': name, image });
    if (volatile) this.#history.reset();
    this.#hasNode = true;
    this.#surroundings.report.nodes++;
  }

  async #deleteNode(): Promise<void> {
    if (!this.#hasNode) return;
    this.#note('delete node');
    await this.#monitor.execute('blockdev-del', { 'node-name': this.name });
    this.#hasNode = false;
  }

  async #export(as = this.#newExport()): Promise<void> {
    await this.#addNode();
    if (this.#exported !== undefined) return;
    this.#note(`export ${JSON.stringify(as)}`);
    await this.#monitor.execute('block-export-add', as);
    this.#exported = as;
    this.#surroundings.report.exported++;
  }

  #newExport(): object {
    const random = this.#random;
    return {
      type: 'vhost-user-blk',
      id: this.name,
      'node-name': this.name,
      writable: true,
      addr: { type: 'unix', path: this.#socket },
      'num-queues': 3,
      writethrough: random.chance(0.3),
      iothread: random.chance(0.3) ? IOTHREADS : [random.pick(IOTHREADS)],
      ...(random.chance(0.5) ? { werror: 'stop', rerror: 'stop' } : {}),
    };
  }

  async #remove(): Promise<void> {
    if (this.#exported === undefined) return;
    this.#note('remove export');
    await this.#monitor.execute('block-export-del', { id: this.name, mode: 'hard' });
    this.#exported = undefined;
    this.#surroundings.report.removed++;
  }

  /** No faults any more, and nothing that waits because of one. */
  async #calm(): Promise<void> {
    this.#note('calm');
    await this.#setRules([]);
    try {
      await this.#rescue.execute('cont', { id: this.name });
    } catch (error) {
      // It has just been removed.
      if (!(error instanceof QmpError) || !error.message.includes('is not found')) throw error;
    }
  }

  async #setRules(rules: readonly object[]): Promise<void> {
    const node = { 'node-name': this.name };
    const before = (await this.#rescue.execute('x-blkdebug-query', node)) as readonly { fired: number }[];
    for (const { fired } of before) this.#surroundings.report.faults += fired;
    await this.#rescue.execute('x-blkdebug-set-rules', { ...node, 'inject-error': rules });
  }

  /** Waits for something; requests that failed before the rules were gone may pause the device once more. */
  async #whileCalm(waiting: Promise<void>): Promise<void> {
    const over = waiting.then(
      () => true,
      () => true,
    );
    do await this.#calm();
    while (!(await Promise.race([over, setTimeout(50, false)])));
    await waiting;
  }

  #fault(): Promise<void> {
    const rule = pickFault(this.#random);
    this.#note(`fault ${JSON.stringify(rule)}`);
    this.#surroundings.report.rules++;
    return this.#setRules([rule]);
  }

  /** Without a word, and without anybody having ended what its requests wait for. */
  async #vanish(guest: SoakGuest): Promise<void> {
    this.#note('vanish');
    this.#guest = undefined;
    await guest.vanish();
    this.#surroundings.report.vanished++;
    await setTimeout(this.#random.below(30));
    await this.#whileCalm(this.#random.chance(0.5) ? this.#remove() : Promise.resolve());
    await this.#perhapsDeleteNode();
  }

  /** The guest sees its connection end. */
  async #removeUnderLoad(guest: SoakGuest): Promise<void> {
    const removed = this.#remove();
    await Promise.race([removed, setTimeout(this.#random.below(30))]);
    await this.#whileCalm(removed);
    this.#guest = undefined;
    await guest.vanish();
    this.#surroundings.report.vanished++;
    await this.#perhapsDeleteNode();
  }

  async #leave(guest: SoakGuest): Promise<void> {
    await this.#letGo(guest);
    if (this.#random.chance(0.5)) await this.#remove();
    await this.#perhapsDeleteNode();
  }

  async #letGo(guest: SoakGuest): Promise<void> {
    this.#note('leave');
    await this.#whileCalm(guest.stop());
    this.#guest = undefined;
  }

  async #perhapsDeleteNode(): Promise<void> {
    if (this.#exported === undefined && this.#random.chance(0.5)) await this.#deleteNode();
  }

  async #move(): Promise<void> {
    const iothread = this.#random.pick([...IOTHREADS, null]);
    this.#note(`move to ${iothread}`);
    const moved = this.#monitor.execute('x-blockdev-set-iothread', { 'node-name': this.name, iothread });
    // What hangs would be waited for until the daemon's deadline is over.
    const calm = this.#random.chance(0.5);
    try {
      await (calm ? this.#whileCalm(moved.then(() => undefined)) : this.#unlessLate(moved));
      this.#surroundings.report.moved++;
    } catch (error) {
      // A device that is paused is not moved.
      if (!(error instanceof QmpError)) throw error;
      this.#note(error.message);
    }
  }

  /** What a fault keeps from happening happens once it has ended. */
  async #unlessLate(moved: Promise<unknown>): Promise<void> {
    const over = moved.then(
      () => true,
      () => true,
    );
    if (!(await Promise.race([over, setTimeout(300, false)])))
      await this.#whileCalm(moved.then(() => undefined));
    await moved;
  }

  async #query(): Promise<void> {
    await this.#monitor.execute(this.#random.pick(QUERIES));
    this.#surroundings.report.queries++;
  }
}
