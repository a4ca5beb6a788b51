import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Side } from './daemon-results.js';

const OURS = fileURLToPath(new URL('../../../storage-daemon/dist/cli/main.js', import.meta.url));
const COMMANDS: Readonly<Record<Side, readonly [string, ...string[]]>> = {
  qemu: ['qemu-storage-daemon'],
  ours: [process.execPath, OURS],
};
/** Against hangs: no daemon takes so long to start or to stop. */
const DEADLINE_MS = 20_000;

/** The version line of QEMU's daemon, undefined where it is not installed. */
export function qemuVersion(): string | undefined {
  const { status, stdout } = spawnSync('qemu-storage-daemon', ['--version'], { encoding: 'utf8' });
  return status === 0 ? stdout.split('\n')[0] : undefined;
}

/** A storage daemon under measurement, QEMU's or ours, with the same options. */
export class StorageDaemonProcess {
  readonly startMs: number;
  readonly #child: ChildProcess;
  readonly #told: () => string;

  private constructor(child: ChildProcess, startMs: number, told: () => string) {
    this.#child = child;
    this.startMs = startMs;
    this.#told = told;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  get running(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** The end of what it has written to stderr. */
  get told(): string {
    return this.#told();
  }

  /** @param pidfile where it is to write its process id, as it does when all its exports are there */
  static async start(side: Side, args: readonly string[], pidfile: string): Promise<StorageDaemonProcess> {
    const [command, ...before] = COMMANDS[side];
    const beganMs = performance.now();
    const all = [...before, ...args, '--pidfile', pidfile];
    const child = spawn(command, all, { stdio: ['ignore', 'ignore', 'pipe'] });
    let errors = '';
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors = (errors + text).slice(-2000);
    });
    while (!existsSync(pidfile)) {
      if (child.exitCode !== null || performance.now() - beganMs > DEADLINE_MS) {
        child.kill('SIGKILL');
        throw new Error(`${command} did not start: ${errors}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    return new StorageDaemonProcess(child, performance.now() - beganMs, () => errors);
  }

  /** Processor time of all its threads so far, nanoseconds. */
  cpuNs(): number {
    const tasks = `/proc/${this.#child.pid}/task`;
    return readdirSync(tasks).reduce(
      (sum, task) => sum + Number(readFileSync(`${tasks}/${task}/schedstat`, 'utf8').split(' ')[0]),
      0,
    );
  }

  residentMib(): number {
    const status = readFileSync(`/proc/${this.#child.pid}/status`, 'utf8');
    return Number(/^VmRSS:\s+(\d+) kB/m.exec(status)![1]) / 1024;
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null) return;
    const ended = new Promise((resolve) => this.#child.once('exit', resolve));
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), DEADLINE_MS);
    this.#child.kill('SIGTERM');
    await ended;
    clearTimeout(timer);
  }
}
