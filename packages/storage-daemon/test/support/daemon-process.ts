import { type ChildProcess, spawn, type StdioOptions } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { until, within } from '../../../../test/support/within.js';

const DAEMON = fileURLToPath(new URL('../../dist/cli/main.js', import.meta.url));

export interface Ended {
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** A storage daemon in a process of its own, which goes with the test. */
export class DaemonProcess implements AsyncDisposable {
  readonly child: ChildProcess;
  readonly #ended: Promise<Ended>;
  #over = false;
  stdout = '';
  stderr = '';

  /** @param options.fds what the daemon has from descriptor 3 on */
  constructor(
    args: readonly string[],
    options: {
      readonly cwd?: string;
      readonly fds?: readonly number[];
      readonly uid?: number;
      readonly gid?: number;
    } = {},
  ) {
    const { cwd, uid, gid } = options;
    const stdio: StdioOptions = ['pipe', 'pipe', 'pipe', ...(options.fds ?? [])];
    this.child = spawn(process.execPath, [DAEMON, ...args], { stdio, cwd, uid, gid });
    this.child.stdout!.on('data', (text: Buffer) => (this.stdout += text.toString()));
    this.child.stderr!.on('data', (text: Buffer) => (this.stderr += text.toString()));
    this.#ended = new Promise((resolve, reject) => {
      this.child.on('error', reject);
      this.child.on('close', (code, signal) => {
        this.#over = true;
        resolve({ code, signal, stdout: this.stdout, stderr: this.stderr });
      });
    });
  }

  /** Resolves when it has started. */
  async ready(): Promise<void> {
    await until(`'ready' of the daemon (${this.stderr})`, () => {
      if (this.#over) throw new Error(`the daemon has ended: ${this.stderr}`);
      return this.stderr.includes(': info: ready');
    });
  }

  ended(): Promise<Ended> {
    return within(this.#ended, 'the end of the daemon', () => this.stdout + this.stderr);
  }

  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<Ended> {
    this.child.kill(signal);
    return this.ended();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (!this.#over) this.child.kill('SIGKILL');
    await this.#ended;
  }
}

/** Runs a daemon that ends by itself. */
export async function run(...args: readonly string[]): Promise<Ended> {
  await using daemon = new DaemonProcess(args);
  return await daemon.ended();
}
