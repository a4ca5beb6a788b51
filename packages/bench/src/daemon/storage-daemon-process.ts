import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { connect } from 'node:net';
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

  private constructor(child: ChildProcess, startMs: number) {
    this.#child = child;
    this.startMs = startMs;
  }

  /** @param socket one that it listens on when it is ready */
  static async start(side: Side, args: readonly string[], socket: string): Promise<StorageDaemonProcess> {
    const [command, ...before] = COMMANDS[side];
    const beganMs = performance.now();
    const child = spawn(command, [...before, ...args], { stdio: ['ignore', 'ignore', 'pipe'] });
    let errors = '';
    child.stderr!.setEncoding('utf8').on('data', (text: string) => {
      errors = (errors + text).slice(-2000);
    });
    while (!(await accepts(socket))) {
      if (child.exitCode !== null || performance.now() - beganMs > DEADLINE_MS) {
        child.kill('SIGKILL');
        throw new Error(`${command} did not start: ${errors}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    return new StorageDaemonProcess(child, performance.now() - beganMs);
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

function accepts(socket: string): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = connect(socket);
    probe.once('connect', () => {
      probe.destroy();
      resolve(true);
    });
    probe.once('error', () => {
      resolve(false);
    });
  });
}
