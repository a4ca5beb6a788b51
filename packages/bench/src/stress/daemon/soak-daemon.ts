import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { QmpClient } from '../../daemon/qmp-client.js';

const PROGRAM = fileURLToPath(new URL('../../../../storage-daemon/dist/cli/main.js', import.meta.url));
/** Against hangs. */
const DEADLINE_MS = 60_000;
/**
 * What is kept is to show: V8 lets garbage grow to tens of megabytes a thread as it likes, and glibc, once it has seen large blocks,
 * takes later ones from a heap that it hardly ever gives back.
 */
const NODE_ARGS = [
  '--max-semi-space-size=1',
  '--expose-gc',
  `--import=${new URL('collect-on-signal.js', import.meta.url).href}`,
];
const MALLOC = { MALLOC_MMAP_THRESHOLD_: '131072', MALLOC_TRIM_THRESHOLD_: '131072' };
/** For collecting garbage on all threads: far more than it takes. */
const COLLECT_MS = 300;
const LOG_CHARACTERS = 2000;

/** A daemon that has nothing but monitors at first. */
export class SoakDaemon {
  /** Each answers one command after the other; what waits on one does not hold up the others. */
  readonly monitors: readonly QmpClient[];
  readonly #child: ChildProcess;
  readonly #ended: Promise<unknown>;
  #log = '';

  private constructor(child: ChildProcess, ended: Promise<unknown>, monitors: readonly QmpClient[]) {
    this.#child = child;
    this.#ended = ended;
    this.monitors = monitors;
  }

  /** @param onEvent hears of events, once each */
  static async start(
    directory: string,
    monitors: number,
    onEvent: (name: string, data: unknown) => void,
  ): Promise<SoakDaemon> {
    const paths = Array.from({ length: monitors }, (_, i) => join(directory, `qmp${i}.sock`));
    const args = paths.flatMap((path, i) => [
      `--chardev=socket,id=m${i},path=${path},server=on,wait=off`,
      `--monitor=m${i}`,
    ]);
    const child = spawn(process.execPath, [...NODE_ARGS, PROGRAM, ...args], {
      stdio: ['ignore', 'ignore', 'pipe'],
      env: { ...process.env, ...MALLOC },
    });
    // Whatever ends this process: no daemon is left behind.
    const end = (): void => void child.kill('SIGKILL');
    process.once('exit', end);
    const ended = once(child, 'exit').finally(() => process.off('exit', end));
    const clients: QmpClient[] = [];
    const daemon = new SoakDaemon(child, ended, clients);
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      daemon.#log = (daemon.#log + text).slice(-LOG_CHARACTERS);
    });
    try {
      for (const [i, path] of paths.entries()) {
        clients.push(await connect(path, daemon, i === 0 ? onEvent : () => undefined));
      }
    } catch (error) {
      await daemon.kill();
      throw error;
    }
    return daemon;
  }

  get pid(): number {
    return this.#child.pid!;
  }

  /** The end of what it has logged. */
  get log(): string {
    return this.#log;
  }

  /** @throws Error when it has ended by itself */
  expectAlive(): void {
    const { exitCode, signalCode } = this.#child;
    if (exitCode !== null || signalCode !== null)
      throw new Error(`the daemon has ended: ${exitCode ?? signalCode}`);
  }

  /** Has all its threads give up what is garbage. */
  async collectGarbage(): Promise<void> {
    this.#child.kill('SIGUSR2');
    await setTimeout(COLLECT_MS);
  }

  /** Ends it without a chance to do anything about it. */
  async kill(): Promise<void> {
    for (const monitor of this.monitors) monitor.close();
    this.#child.kill('SIGKILL');
    await this.#ended;
  }

  /** Ends it as an operator does. @throws Error unless it ends well */
  async stop(): Promise<void> {
    for (const monitor of this.monitors) monitor.close();
    this.#child.kill('SIGTERM');
    const inTime = await Promise.race([
      this.#ended.then(() => true),
      setTimeout(DEADLINE_MS, false, { ref: false }),
    ]);
    if (!inTime) throw new Error('the daemon does not end');
    if (this.#child.exitCode !== 0) throw new Error(`the daemon left with status ${this.#child.exitCode}`);
  }
}

async function connect(
  path: string,
  daemon: SoakDaemon,
  onEvent: (name: string, data: unknown) => void,
): Promise<QmpClient> {
  const beganMs = performance.now();
  for (;;) {
    try {
      return await QmpClient.connect(path, onEvent);
    } catch (error) {
      daemon.expectAlive();
      if (performance.now() - beganMs > DEADLINE_MS) throw error;
      await setTimeout(20);
    }
  }
}
