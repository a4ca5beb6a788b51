import { constants } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import type { StdioOptions } from 'node:child_process';
import type { GivenOption } from '../cli/command-line.js';
import { handOn } from '../cli/inherited-fds.js';
import { tellParent } from '../cli/parent.js';
import { removePidfile, writePidfile } from '../cli/pidfile.js';
import { TERMINATION_SIGNALS } from '../cli/termination-signals.js';
import type { Log } from '../log.js';
import { BackOff } from './back-off.js';
import { NO_RESTARTS, withRestart } from './restarts.js';
import { type Ended, SupervisedProcess } from './supervised-process.js';

/** Before a process that stands by is replaced that has ended by itself. */
const SPARE_PAUSE_MS = 10_000;

/** What is to be supervised. */
export interface SupervisedDaemon {
  /** The whole command line. */
  readonly args: readonly string[];
  readonly options: readonly GivenOption[];
  /** Gets our process id: ours is the one that stays. */
  readonly pidfile: string | undefined;
}

/**
 * Has a daemon in a process of its own, and puts another one in its place when it crashes. That one stands by already, with
 * everything loaded and its iothreads started: to start from nothing takes longer than a guest should wait.
 */
export class Supervisor {
  readonly #daemon: SupervisedDaemon;
  readonly #log: Log;
  readonly #stdio: StdioOptions;
  readonly #stop = new AbortController();
  readonly #backOff = new BackOff();
  #restarts = NO_RESTARTS;
  /** The first start has worked. */
  #begun = false;
  #serving: SupervisedProcess | undefined;
  #spare: SupervisedProcess | undefined;

  constructor(daemon: SupervisedDaemon, log: Log) {
    this.#daemon = daemon;
    this.#log = log;
    // Where `--daemonize` has started us, its pipe has the number of our channel: no child keeps it open.
    this.#stdio = handOn(daemon.options, true, 'ipc').stdio;
  }

  /**
   * Until the daemon has ended for good.
   * @returns its exit status
   * @throws StorageDaemonError `ERR_PIDFILE`
   */
  async run(): Promise<number> {
    for (const signal of TERMINATION_SIGNALS) {
      process.on(signal, () => {
        this.#stop.abort();
        this.#serving?.kill(signal);
      });
    }
    try {
      const ended = await this.#serve();
      const { pidfile } = this.#daemon;
      if (this.#begun && pidfile !== undefined) await removePidfile(pidfile);
      return this.#statusOf(ended);
    } finally {
      this.#spare?.kill('SIGKILL');
      await this.#spare?.ended;
    }
  }

  /** @returns how the last one has ended; undefined where there was none at the moment */
  async #serve(): Promise<Ended | undefined> {
    for (;;) {
      const serving = this.#takeSpare();
      this.#serving = serving;
      serving.takeOver(this.#restarts);
      if (await readyOf(serving)) {
        if (!this.#begun) await this.#begin(serving);
        this.#standBy();
      }
      const ended = await serving.ended;
      this.#serving = undefined;
      // A mistake of the operator's is told at the first start, and not repeated.
      if (this.#stopped || serving.stopping || ended.code === 0 || !this.#begun) return ended;
      await this.#pause(serving, ended);
      if (this.#stopped) return undefined;
    }
  }

  get #stopped(): boolean {
    return this.#stop.signal.aborted;
  }

  /** Tells whoever waits for the first start. */
  async #begin(serving: SupervisedProcess): Promise<void> {
    const { pidfile } = this.#daemon;
    try {
      if (pidfile !== undefined) await writePidfile(pidfile);
      tellParent();
      this.#begun = true;
    } catch (error) {
      serving.kill('SIGTERM');
      await serving.ended;
      throw error;
    }
  }

  #takeSpare(): SupervisedProcess {
    const spare = this.#spare;
    this.#spare = undefined;
    return spare ?? this.#startProcess();
  }

  #startProcess(): SupervisedProcess {
    return new SupervisedProcess(this.#daemon.args, this.#stdio);
  }

  /** Has a process stand by from now on. */
  #standBy(): void {
    if (this.#spare !== undefined || this.#stopped) return;
    const spare = this.#startProcess();
    this.#spare = spare;
    void spare.ended.then(async ({ reason }) => {
      if (this.#spare !== spare) return;
      this.#spare = undefined;
      await setTimeout(SPARE_PAUSE_MS, undefined, { ref: false });
      if (this.#serving === undefined || this.#stopped) return;
      this.#log.write(
        'warning',
        `the process that stood by has ended: ${reason}; another one takes its place`,
      );
      this.#standBy();
    });
  }

  /** Tells of a crash, and waits, the longer the more of them there have been. */
  async #pause({ pid, servedMs }: SupervisedProcess, { reason }: Ended): Promise<void> {
    this.#restarts = withRestart(this.#restarts, { timeMs: Date.now(), reason });
    const pauseMs = this.#backOff.pauseMs(servedMs);
    const when = pauseMs === 0 ? 'now' : `in ${pauseMs} ms`;
    const { count } = this.#restarts;
    this.#log.write('error', `daemon ${pid ?? ''} has ended: ${reason}; restart ${count} ${when}`);
    // The next one gets ready meanwhile.
    this.#standBy();
    try {
      if (pauseMs > 0) await setTimeout(pauseMs, undefined, { signal: this.#stop.signal });
    } catch {
      // Told to stop.
    }
  }

  #statusOf(ended: Ended | undefined): number {
    if (ended === undefined) return 0;
    const { code, reason } = ended;
    if (code !== null) return code;
    // It had not come as far as to hear of signals.
    if (this.#stopped && TERMINATION_SIGNALS.some((signal) => signal === reason)) return 0;
    this.#log.fatal(`the daemon was ended by ${reason}`);
    return 128 + constants.signals[reason as NodeJS.Signals];
  }
}

/** @returns false where it ends before it is ready */
async function readyOf({ ready, ended }: SupervisedProcess): Promise<boolean> {
  return Promise.race([ready.then(() => true), ended.then(() => false)]);
}
