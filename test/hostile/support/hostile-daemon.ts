import { FrontEndRequests, Request, VhostUserFrontEnd } from '@iothreads/vhost-user/front-end';
import { expect } from 'vitest';
import { DISKS, type DiskName } from '../../../packages/core/test/robustness/disks.js';
import { freshDisk, REGIONS } from '../../../packages/core/test/robustness/hostile-guest.js';
import { onDisk } from '../../../packages/core/test/robustness/row.js';
import { firstDifference } from '../../../packages/core/test/support/first-difference.js';
import { DaemonProcess } from '../../../packages/storage-daemon/test/support/daemon-process.js';
import { QmpClient } from '../../../packages/storage-daemon/test/support/qmp-client.js';
import { Scratch } from '../../../packages/storage-daemon/test/support/scratch.js';
import { openFds } from '../../../packages/vhost-user/test/support/open-fds.js';
import { DaemonGuest } from './daemon-guest.js';
import { type DaemonDiskTraits, HostileDisk } from './hostile-disk.js';

/**
 * A storage daemon in a process of its own with several exports, all on one iothread. One of them belongs to a neighbour who does
 * nothing wrong, and is looked at whenever somebody else did.
 */
export class HostileDaemon implements AsyncDisposable {
  readonly #scratch: Scratch;
  readonly #disks: ReadonlyMap<string, HostileDisk>;
  readonly process: DaemonProcess;
  readonly pid: number;
  #forgotten = 0;
  #neighbour!: DaemonGuest;

  private constructor(scratch: Scratch, disks: Readonly<Record<string, DaemonDiskTraits>>) {
    this.#scratch = scratch;
    const all = Object.entries({ neighbour: {}, ...disks });
    this.#disks = new Map(all.map(([id, traits]) => [id, new HostileDisk(this.#scratch.path, id, traits)]));
    this.process = new DaemonProcess([
      '--object=iothread,id=io',
      ...[...this.#disks.values()].flatMap((disk) => disk.args('io')),
      `--chardev=socket,id=m,path=${scratch.file('qmp')},server=on,wait=off`,
      '--monitor=m',
    ]);
    this.pid = this.process.child.pid!;
  }

  /**
   * @param disks by the ids of their exports
   * @param scratch goes with the daemon
   */
  static async start(
    disks: Readonly<Record<string, DaemonDiskTraits>>,
    scratch: Scratch = new Scratch(),
  ): Promise<HostileDaemon> {
    const daemon = new HostileDaemon(scratch, disks);
    await daemon.process.ready();
    daemon.#neighbour = await DaemonGuest.connect(daemon.disk('neighbour'));
    return daemon;
  }

  /** The disks of the tables that a daemon can have. */
  static startWithTables(names: readonly DiskName[]): Promise<HostileDaemon> {
    return HostileDaemon.start(Object.fromEntries(names.map((name) => [DISKS[name].serial, DISKS[name]])));
  }

  /** Mappings that the neighbour's memory takes. */
  readonly neighbourMappings = REGIONS.length;

  /** What was told of a level since `forgetMessages`. */
  messages(level: string): string[] {
    const lines = this.process.stderr.slice(this.#forgotten).split('\n');
    return lines.filter((line) => line.startsWith(`iothreads-storage-daemon: ${level}: `));
  }

  forgetMessages(): void {
    this.#forgotten = this.process.stderr.length;
  }

  /** Another monitor. */
  qmp(): Promise<QmpClient> {
    return QmpClient.connect(this.#scratch.file('qmp'));
  }

  disk(id: string): HostileDisk {
    return this.#disks.get(id)!;
  }

  /** The neighbour's requests are answered, and nothing of its own has changed but by these. */
  async expectNeighbourServed(): Promise<void> {
    const neighbour = this.#neighbour;
    expect(await neighbour.stillWorks()).toBe(true);
    expect(neighbour.strayWrites([neighbour.status, 1], [neighbour.data, 512])).toEqual([]);
    const wanted = freshDisk();
    wanted.set(neighbour.bytes(neighbour.data, 512), wanted.length - 512);
    expect(firstDifference(neighbour.diskBytes!, wanted)).toBe(-1);
  }

  /** The process is the one that was started, and runs. */
  expectAlive(): void {
    const { child, stderr } = this.process;
    expect([child.pid, child.exitCode, child.signalCode], stderr).toEqual([this.pid, null, null]);
    // Not a corpse that nobody has told of yet either.
    expect(child.kill(0)).toBe(true);
  }

  /** Whatever somebody has done to an export, the process, the neighbour and the next front end notice nothing. */
  async expectUnharmed(disk: HostileDisk): Promise<void> {
    await this.expectNeighbourServed();
    disk.restore();
    const fresh = await VhostUserFrontEnd.connect(disk.socket, {
      memoryBytes: 65536,
      queueSize: 8,
      dataBytes: 512,
    });
    const bytes = await fresh.queues[0]!.read(1, 512);
    if (disk.bytes !== undefined) expect(firstDifference(bytes, onDisk(512, 512))).toBe(-1);
    await fresh.close();
    this.expectAlive();
  }

  /** Descriptors that the process has when nobody is connected to a disk, and everybody who was has been done with. */
  async restingFds(disk: HostileDisk): Promise<number> {
    const requests = FrontEndRequests.connect(disk.socket);
    try {
      // Its turn comes when the one before it has left nothing behind.
      await requests.ask(Request.GET_FEATURES);
      return openFds(this.pid) - 1;
    } finally {
      requests.close();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#neighbour?.[Symbol.asyncDispose]();
    await this.process[Symbol.asyncDispose]();
    this.#scratch[Symbol.dispose]();
  }
}
