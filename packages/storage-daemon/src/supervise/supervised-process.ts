import { type ChildProcess, spawn, type StdioOptions } from 'node:child_process';
import type { Restarts } from './restarts.js';
import { type Report, SUPERVISOR_PID, type TakeOver } from './supervision.js';

/** For how long the last report of a process that has ended is waited for, should somebody else hold its channel open. */
const LAST_REPORT_MS = 1000;

/** How a process has ended. */
export interface Ended {
  /** null where a signal ended it. */
  readonly code: number | null;
  /** In words: `SIGKILL`, `status 1`, or why it could not even be started. */
  readonly reason: string;
}

/** A process that is the daemon, or stands by to become it. */
export class SupervisedProcess {
  readonly #child: ChildProcess;
  /** Resolves when front ends can connect; never where it ends before. */
  readonly ready: Promise<void>;
  readonly ended: Promise<Ended>;
  #readyMs: number | undefined;
  #stopping = false;

  /** @param stdio with an `ipc` in it */
  constructor(args: readonly string[], stdio: StdioOptions) {
    const child = spawn(process.execPath, [...process.execArgv, process.argv[1]!, ...args], {
      stdio,
      env: { ...process.env, [SUPERVISOR_PID]: String(process.pid) },
    });
    this.#child = child;
    this.ready = new Promise((resolve) => {
      child.on('message', (report: Report) => {
        if (report === 'stopping') this.#stopping = true;
        else {
          this.#readyMs = performance.now();
          resolve();
        }
      });
    });
    this.ended = new Promise((resolve) => {
      child.on('exit', (code, signal) => {
        const ended = { code, reason: signal ?? `status ${code}` };
        // What it has reported before its end may be on its way.
        if (!child.connected) resolve(ended);
        child.once('disconnect', () => resolve(ended));
        setTimeout(() => resolve(ended), LAST_REPORT_MS).unref();
      });
      // Not started, or a message that came too late.
      child.on('error', (error) => {
        if (child.pid === undefined) resolve({ code: 1, reason: error.message });
      });
    });
  }

  /** undefined where it could not be started. */
  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** It has been told to end, by a signal or over QMP. */
  get stopping(): boolean {
    return this.#stopping;
  }

  /** For how long it has been ready, milliseconds. */
  get servedMs(): number {
    return this.#readyMs === undefined ? 0 : performance.now() - this.#readyMs;
  }

  /** It is this one's turn to serve. */
  takeOver(restarts: Restarts): void {
    const message: TakeOver = { takeOver: restarts };
    // It may have gone already: then its end is what is heard of.
    this.#child.send(message, () => undefined);
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }
}
