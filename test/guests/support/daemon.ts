import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { until, within } from '../../support/within.js';
import { spawnChild } from './child.js';

/** The daemon's program; everything behind it is QEMU's command line: `['qemu-storage-daemon']` would be QEMU's own. */
const DAEMON = [
  process.execPath,
  fileURLToPath(new URL('../../../packages/storage-daemon/dist/cli/main.js', import.meta.url)),
];

/** One drive and the export that serves it, both under one name. */
interface ServedDisk {
  readonly id: string;
  /** What `--blockdev` gets, in QEMU's words. */
  readonly node: Readonly<Record<string, unknown>>;
  /** What `--export` gets besides. */
  readonly export: string;
}

export interface Served {
  readonly iothreads: readonly string[];
  readonly disks: readonly ServedDisk[];
}

/** Where the daemon listens for a disk's guest, and for commands. */
export const socketOf = (directory: string, id: string): string => join(directory, `${id}.sock`);
export const monitorOf = (directory: string): string => join(directory, 'qmp.sock');

function commandLine(directory: string, { iothreads, disks }: Served): string[] {
  const args = [
    '--chardev',
    `socket,id=qmp,path=${monitorOf(directory)},server=on,wait=off`,
    '--monitor',
    'qmp',
  ];
  for (const id of iothreads) args.push('--object', `iothread,id=${id}`);
  for (const { id, node, export: rest } of disks) {
    args.push('--blockdev', JSON.stringify({ ...node, 'node-name': id }));
    const address = `addr.type=unix,addr.path=${socketOf(directory, id)}`;
    args.push('--export', `vhost-user-blk,id=${id},node-name=${id},${address},${rest}`);
  }
  return args;
}

/** A storage daemon in a process of its own. */
export class StorageDaemon {
  readonly #process: ChildProcess;
  readonly #ended: Promise<unknown>;
  #stderr = '';

  private constructor(args: readonly string[]) {
    const [file, ...first] = DAEMON;
    this.#process = spawnChild(file!, [...first, ...args]);
    this.#ended = once(this.#process, 'close');
    this.#process.stdout!.resume();
    this.#process.stderr!.setEncoding('utf8').on('data', (text: string) => (this.#stderr += text));
  }

  /** Starts it, and resolves when every export is there. Its sockets and its pidfile stand in `directory`. */
  static async start(directory: string, served: Served): Promise<StorageDaemon> {
    const pidfile = join(directory, 'daemon.pid');
    // One that was killed leaves it behind.
    rmSync(pidfile, { force: true });
    const daemon = new StorageDaemon(['--pidfile', pidfile, ...commandLine(directory, served)]);
    try {
      await until('the daemon', () => {
        if (daemon.#process.exitCode !== null) throw new Error(`the daemon didn't start: ${daemon.log}`);
        // Written once every export exists.
        return existsSync(pidfile);
      });
    } catch (error) {
      await daemon.kill();
      throw error;
    }
    return daemon;
  }

  /** What it has said on its standard error. */
  get log(): string {
    return this.#stderr;
  }

  /** Stops it as an operator does. @throws Error unless it leaves with status 0 */
  async stop(): Promise<void> {
    this.#process.kill('SIGTERM');
    await within(this.#ended, "the daemon's end", () => this.log);
    const { exitCode, signalCode } = this.#process;
    if (exitCode !== 0) throw new Error(`the daemon left with ${signalCode ?? exitCode}: ${this.log}`);
  }

  /** Ends it without a chance to do anything about it. */
  async kill(): Promise<void> {
    this.#process.kill('SIGKILL');
    await this.#ended;
  }

  /** For `await using` and the end of a failed test: nothing is left running. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.kill();
  }
}
