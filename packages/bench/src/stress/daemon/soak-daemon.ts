import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { QmpClient } from '../../daemon/qmp-client.js';

const PROGRAM = fileURLToPath(new URL('../../../../storage-daemon/dist/cli/main.js', import.meta.url));
/** Against hangs. */
const DEADLINE_MS = 60_000;

/** A daemon that has nothing but a monitor at first. */
export class SoakDaemon {
  readonly qmp: QmpClient;
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;

  private constructor(child: ChildProcess, ended: Promise<unknown>, qmp: QmpClient) {
    this.#child = child;
    this.#ended = ended;
    this.qmp = qmp;
  }

  static async start(directory: string, onEvent: (name: string, data: unknown) => void): Promise<SoakDaemon> {
    const path = join(directory, 'qmp.sock');
    const args = ['--chardev', `socket,id=m,path=${path},server=on,wait=off`, '--monitor', 'm'];
    // What it logs of all the faults is of no interest.
    const child = spawn(process.execPath, [PROGRAM, ...args], { stdio: 'ignore' });
    const ended = once(child, 'exit');
    const beganMs = performance.now();
    for (;;) {
      try {
        return new SoakDaemon(child, ended, await QmpClient.connect(path, onEvent));
      } catch (error) {
        if (performance.now() - beganMs > DEADLINE_MS) throw error;
        await setTimeout(20);
      }
    }
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** @throws Error when it has ended by itself */
  expectAlive(): void {
    const { exitCode, signalCode } = this.#child;
    if (exitCode !== null || signalCode !== null)
      throw new Error(`the daemon has ended: ${exitCode ?? signalCode}`);
  }

  /** Ends it without a chance to do anything about it. */
  async kill(): Promise<void> {
    this.qmp.close();
    this.#child.kill('SIGKILL');
    await this.#ended;
  }

  /** Ends it as an operator does. @throws Error unless it ends well */
  async stop(): Promise<void> {
    this.qmp.close();
    this.#child.kill('SIGTERM');
    await this.#ended;
    if (this.#child.exitCode !== 0) throw new Error(`the daemon left with status ${this.#child.exitCode}`);
  }
}
