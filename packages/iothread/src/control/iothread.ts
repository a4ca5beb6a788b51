import type { PollingSettings } from '@iothreads/core';
import { inTime, LATE } from '../in-time.js';
import { IOThreadError } from '../iothread-error.js';
import { LoopStatistics } from '../shared/loop-statistics.js';
import type { WorkerReport } from '../worker/driver-error-reports.js';
import { RestartLimit, type RestartLimits } from './restart-limit.js';
import { type RemoteControl, WorkerThread } from './worker-thread.js';

/** The worker's module, resolved once; bundlers move it and say where to. */
export const IOTHREAD_WORKER_URL = new URL('../worker/iothread-worker.js', import.meta.url);

/** For how long an iothread that is removed waits for what its worker has left behind. */
const BURIAL_MS = 1000;
const LONGEST_MS = 2 ** 31 - 1;

export interface IOThreadConfiguration {
  readonly id: string;
  readonly slot: number;
  readonly polling: PollingSettings;
  readonly wakeBuffer: SharedArrayBuffer;
  readonly workerUrl: URL;
  /** undefined: a worker that dies is not started again. */
  readonly restarts: RestartLimits | undefined;
  readonly onReport: (report: WorkerReport) => void;
  readonly onDeath: (error: IOThreadError) => void;
  /** Another worker runs in its place, without devices yet. */
  readonly onRestart: () => void;
}

/** An iothread as the controlling thread sees it: a worker, and another one in its place when it dies. */
export class IOThread {
  readonly id: string;
  readonly slot: number;
  readonly polling: PollingSettings;
  readonly statistics = new LoopStatistics();
  readonly #options: IOThreadConfiguration;
  readonly #limit: RestartLimit | undefined;
  #worker: WorkerThread;
  /** When the worker answered for the first time; NaN until it has. */
  #bornMs = NaN;
  #restarts = 0;
  #gone: IOThreadError | undefined;
  /** Settled when the worker that is being started runs, or has died as well. */
  #restarting: Promise<void> | undefined;
  /** Ends the wait before a restart. */
  #hurry: (() => void) | undefined;
  #stopping = false;

  constructor(options: IOThreadConfiguration) {
    this.#options = options;
    this.id = options.id;
    this.slot = options.slot;
    this.polling = options.polling;
    this.#limit = options.restarts === undefined ? undefined : new RestartLimit(options.restarts);
    this.#worker = this.#start();
  }

  get alive(): boolean {
    return this.#gone === undefined;
  }

  /** Why there is no worker, while there is none. */
  get death(): IOThreadError | undefined {
    return this.#gone;
  }

  /** Whether there is no worker for the moment. */
  get restarting(): boolean {
    return this.#restarting !== undefined;
  }

  /** How often another worker has taken the place of one that died. */
  get restarts(): number {
    return this.#restarts;
  }

  /**
   * The worker that serves it; waits for one that is being started.
   * @throws IOThreadError `ERR_IOTHREAD_DIED` when it has died for good, or nobody has taken its place after `timeoutMs`
   */
  async worker(timeoutMs: number): Promise<WorkerThread> {
    const deadlineMs = performance.now() + timeoutMs;
    while (this.#gone !== undefined) {
      // Each of the restarts that it may take is bounded in number, and all of them by the deadline.
      if (this.#restarting === undefined) throw this.#gone;
      if ((await inTime(this.#restarting, deadlineMs - performance.now())) !== LATE) continue;
      const message = `${this.#gone.message}; it has not been started again within ${timeoutMs} ms`;
      throw new IOThreadError('ERR_IOTHREAD_DIED', message, { cause: this.#gone });
    }
    return this.#worker;
  }

  /**
   * Calls the control plane of the worker that it has at the moment.
   * @throws IOThreadError `ERR_IOTHREAD_DIED` when there is none, or it dies before it answers, and whatever the call throws
   */
  async call<Result>(what: (control: RemoteControl) => Promise<Result>): Promise<Result> {
    if (this.#gone !== undefined) throw this.#gone;
    const result = await this.#worker.call(what);
    if (Number.isNaN(this.#bornMs)) this.#bornMs = performance.now();
    return result;
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    this.#hurry?.();
    const worker = this.#worker;
    await worker.stop();
    // What never ends is left to the kernel.
    await inTime(worker.buried, BURIAL_MS);
  }

  #start(): WorkerThread {
    const { id, slot, polling, wakeBuffer, workerUrl, onReport } = this.#options;
    const statisticsBuffer = this.statistics.buffer;
    const start = { slot, wakeBuffer, statisticsBuffer, polling };
    this.#bornMs = NaN;
    const worker = new WorkerThread({ id, start, workerUrl, onReport });
    void worker.ended.then((error) => {
      this.#ended(worker, error);
    });
    return worker;
  }

  #ended(worker: WorkerThread, error: IOThreadError): void {
    this.#gone = error;
    if (this.#stopping) return;
    const worked = !Number.isNaN(this.#bornMs) || this.#restarting !== undefined;
    // A first worker that never worked is not tried again: whoever wanted it hears of that.
    if (this.#limit === undefined || !worked) {
      this.#options.onDeath(error);
      return;
    }
    const nowMs = performance.now();
    const delayMs = this.#limit.died(nowMs, Number.isNaN(this.#bornMs) ? 0 : nowMs - this.#bornMs);
    if (delayMs === undefined) {
      this.#giveUp(error, this.#limit.reached);
      return;
    }
    const restarting = this.#startAgain(worker, delayMs).finally(() => {
      if (this.#restarting === restarting) this.#restarting = undefined;
    });
    this.#restarting = restarting;
    // Last: a listener that throws harms nobody but itself.
    this.#options.onDeath(error);
  }

  #giveUp({ message, cause }: IOThreadError, why: string): void {
    this.#restarting = undefined;
    this.#gone = new IOThreadError('ERR_IOTHREAD_DIED', `${message}; ${why}, and is not started again`, {
      cause,
    });
    this.#options.onDeath(this.#gone);
  }

  /** Once nothing of the dead one is left, which would serve the same rings: starts another one, unless its iothread is stopped. */
  async #startAgain(dead: WorkerThread, delayMs: number): Promise<void> {
    // As a live iothread it keeps the process alive.
    const alive = setInterval(() => undefined, LONGEST_MS);
    const hurried = new Promise<void>((resolve) => {
      this.#hurry = resolve;
    });
    try {
      const buried = await Promise.race([dead.buried, hurried]);
      if (!this.#stopping) await inTime(hurried, delayMs);
      if (this.#stopping) return;
      if (buried === false) {
        // Devices keep their guest memory mapped then: see `DevicePlacement.stop`.
        this.#giveUp(this.#gone!, 'nobody knows whether what it had under way has ended');
        return;
      }
      this.#worker = this.#start();
      await this.#worker.call((control) => control.query());
    } catch {
      // It has died as well; `#ended` sees to that first.
      await this.#worker.ended;
      return;
    } finally {
      clearInterval(alive);
    }
    this.#bornMs = performance.now();
    this.#restarts++;
    this.#gone = undefined;
    this.#options.onRestart();
  }
}
