import type { SharedRegion } from '@iothreads/vhost-user/front-end';
import { VhostUserError } from '@iothreads/vhost-user';
import { VhostUserFrontEnd } from '@iothreads/vhost-user/front-end';
import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DaemonProcess } from '../../../packages/storage-daemon/test/support/daemon-process.js';
import { isAlive } from '../../../packages/storage-daemon/test/support/processes.js';
import { QmpClient } from '../../../packages/storage-daemon/test/support/qmp-client.js';
import type { LoadedQueue } from '../../support/generations.js';
import { until } from '../../support/within.js';

export const NUM_QUEUES = 2;
const QUEUE_SIZE = 64;
/** Requests in flight on each queue. */
export const DEPTH = 16;

/** Nobody listens; the next one is about to; or the socket of the one that was killed still stood in its last moment. */
const NOT_YET = ['ECONNREFUSED', 'ENOENT', 'ERR_DISCONNECTED'];

export interface KilledDaemonOptions {
  /** Of the drive, each after a comma. */
  readonly options?: string;
  /** Whether it is its supervisor that starts another one. */
  readonly supervised?: boolean;
  /** How much longer than usual every request takes, nanoseconds. */
  readonly delayNs?: number;
}

/** A daemon that serves a disk, and is killed; its front end stays, and goes on with the next one. */
export class KilledDaemon implements AsyncDisposable {
  readonly directory = mkdtempSync(join(tmpdir(), 'crash-'));
  readonly image = join(this.directory, 'disk.img');
  readonly #path = join(this.directory, 'disk.sock');
  readonly #monitor = join(this.directory, 'qmp.sock');
  readonly #blockdev: string;
  readonly #supervised: boolean;
  #daemon: DaemonProcess;
  frontEnd!: VhostUserFrontEnd;

  private constructor(
    sizeBytes: number,
    { options = '', supervised = false, delayNs = 0 }: KilledDaemonOptions,
  ) {
    writeFileSync(this.image, '');
    truncateSync(this.image, sizeBytes);
    this.#blockdev =
      delayNs === 0
        ? `driver=file,node-name=disk,filename=${this.image}${options}`
        : `driver=blkdebug,node-name=disk,image.driver=file,image.filename=${this.image},inject-error.0.delay-ns=${delayNs}`;
    this.#supervised = supervised;
    this.#daemon = this.#start();
  }

  static async start(sizeBytes: number, options: KilledDaemonOptions = {}): Promise<KilledDaemon> {
    const killed = new KilledDaemon(sizeBytes, options);
    await killed.#daemon.ready();
    killed.frontEnd = await VhostUserFrontEnd.connect(killed.#path, {
      numQueues: NUM_QUEUES,
      queueSize: QUEUE_SIZE,
      depth: DEPTH,
      dataBytes: 4096,
      memoryBytes: 1 << 20,
    });
    return killed;
  }

  #start(): DaemonProcess {
    return new DaemonProcess([
      ...(this.#supervised ? ['--supervise'] : []),
      `--chardev=socket,id=qmp,path=${this.#monitor},server=on,wait=off`,
      '--monitor=qmp',
      '--object=iothread,id=iothread0',
      '--object=iothread,id=iothread1',
      `--blockdev=${this.#blockdev}`,
      '--export',
      `{"type":"vhost-user-blk","id":"disk","node-name":"disk","writable":true,"num-queues":${NUM_QUEUES},
        "iothread":["iothread0","iothread1"],"addr":{"type":"unix","path":"${this.#path}"}}`,
    ]);
  }

  get queues(): LoadedQueue[] {
    return this.frontEnd.queues.map((queue) => ({
      request: (type, sector, data) =>
        typeof data === 'number'
          ? queue.request(type, sector, data)
          : queue.request(type, sector, data.length, data),
    }));
  }

  /** Kills the daemon where it stands, and starts another one. @param meanwhile what is done while there is none */
  async killAndRestart(meanwhile: () => void = () => undefined): Promise<void> {
    if (this.#supervised) {
      const pid = await this.#servingPid();
      process.kill(pid, 'SIGKILL');
      await until('its end', () => !isAlive(pid));
      meanwhile();
    } else {
      await this.#daemon.stop('SIGKILL');
      meanwhile();
      this.#daemon = this.#start();
      await this.#daemon.ready();
    }
    await until(
      'a connection',
      () => this.#reconnect(),
      () => this.#daemon.stderr,
    );
  }

  async #servingPid(): Promise<number> {
    using qmp = await QmpClient.connect(this.#monitor);
    const { pid } = (await qmp.execute('x-query-supervision')) as { readonly pid: number };
    return pid;
  }

  async #reconnect(): Promise<boolean> {
    try {
      await this.frontEnd.reconnect(this.#path);
      return true;
    } catch (error) {
      if (error instanceof VhostUserError && NOT_YET.includes(error.code)) return false;
      throw error;
    }
  }

  /** Heads that the table of a queue has as in flight. */
  inFlight(queue: number): number[] {
    const table = this.tableOf(queue);
    return Array.from({ length: QUEUE_SIZE }, (_, head) => head).filter(
      (head) => table[16 + head * 16] !== 0,
    );
  }

  /** A queue's part of what outlives the daemon: 16 bytes of header, 16 for each head. */
  tableOf(queue: number): Uint8Array {
    const { bytes } = this.frontEnd.inflight!;
    const stride = bytes.length / NUM_QUEUES;
    return bytes.subarray(queue * stride, (queue + 1) * stride);
  }

  get memory(): SharedRegion {
    return this.frontEnd.regions[0]!;
  }

  /** What the daemon has said, the last one. */
  get log(): string {
    return this.#daemon.stderr;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.frontEnd?.close();
    await this.#daemon[Symbol.asyncDispose]();
    rmSync(this.directory, { recursive: true, force: true });
  }
}
