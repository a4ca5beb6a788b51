import type { PollingSettings } from '@iothreads/core';
import { wrap } from 'comlink';
import { MessageChannel } from 'node:worker_threads';
import { Piscina } from 'piscina';
import { IOThreadError } from '../iothread-error.js';
import { LoopStatistics } from '../shared/loop-statistics.js';
import type { WorkerReport } from '../worker/driver-error-reports.js';
import type { IOThreadControl, IOThreadStart } from '../worker/iothread-control.js';
import { asEndpoint } from './endpoint.js';
import './error-transfer.js';

/** The worker's module, resolved once; bundlers move it and say where to. */
export const IOTHREAD_WORKER_URL = new URL('../worker/iothread-worker.js', import.meta.url);

/**
 * The control plane from afar: every method by a promise. Comlink's own type for that would stand in what is published, and
 * asks for the browser's types.
 */
export type RemoteControl = {
  readonly [Name in keyof IOThreadControl]: (
    ...args: Parameters<IOThreadControl[Name]>
  ) => Promise<Awaited<ReturnType<IOThreadControl[Name]>>>;
};

/** An iothread as the controlling thread sees it: a worker with one long task, and the line to it. */
export class IOThread {
  readonly id: string;
  readonly slot: number;
  readonly polling: PollingSettings;
  readonly statistics = new LoopStatistics();
  readonly #pool: Piscina;
  readonly #control: RemoteControl;
  readonly #ended: Promise<void>;
  /** How to end the calls that wait for an answer. */
  readonly #pending = new Set<(error: IOThreadError) => void>();
  /** Why the worker is gone, once it is. */
  #gone: IOThreadError | undefined;
  #stopping = false;

  constructor(options: {
    readonly id: string;
    readonly slot: number;
    readonly polling: PollingSettings;
    readonly wakeBuffer: SharedArrayBuffer;
    readonly workerUrl: URL;
    readonly onReport: (report: WorkerReport) => void;
    readonly onDeath: (error: IOThreadError) => void;
  }) {
    this.id = options.id;
    this.slot = options.slot;
    this.polling = options.polling;
    // A thread of its own for each iothread: a task that never ends would keep others of its pool waiting.
    this.#pool = new Piscina({
      filename: options.workerUrl.href,
      minThreads: 1,
      maxThreads: 1,
      // Piscina's default parks an idle worker in Atomics.wait, and its event loop with it.
      atomics: 'disabled',
    });
    const { port1, port2 } = new MessageChannel();
    const reports = new MessageChannel();
    reports.port1.on('message', options.onReport);
    // Waiting for bad news keeps no process alive.
    reports.port1.unref();
    const start: IOThreadStart = {
      slot: options.slot,
      wakeBuffer: options.wakeBuffer,
      statisticsBuffer: this.statistics.buffer,
      polling: options.polling,
    };
    const task: Promise<void> = this.#pool.run(
      { ...start, port: port2, reports: reports.port2 },
      { transferList: [port2, reports.port2] },
    );
    this.#control = wrap<IOThreadControl>(asEndpoint(port1));
    const ended = (cause: unknown): void => {
      port1.close();
      reports.port1.close();
      const stopped = this.#stopping;
      const why = stopped
        ? 'has been stopped'
        : `died: ${cause instanceof Error ? cause.message : 'its task ended'}`;
      const error = new IOThreadError('ERR_IOTHREAD_DIED', `iothread '${this.id}' ${why}`, { cause });
      this.#gone = error;
      for (const reject of this.#pending) reject(error);
      this.#pending.clear();
      if (stopped) return;
      void this.#pool.destroy();
      // Last: a listener that throws harms nobody but itself.
      options.onDeath(error);
    };
    this.#ended = task.then(ended, ended);
  }

  get alive(): boolean {
    return this.#gone === undefined;
  }

  /**
   * Calls the iothread's control plane.
   * @throws IOThreadError `ERR_IOTHREAD_DIED` when the worker dies before it answers, and whatever the call throws
   */
  async call<Result>(what: (control: RemoteControl) => Promise<Result>): Promise<Result> {
    if (this.#gone !== undefined) throw this.#gone;
    // Comlink waits for ever for a worker that is gone.
    let reject: (error: IOThreadError) => void;
    const gone = new Promise<never>((_, rejectCall) => {
      reject = rejectCall;
      this.#pending.add(rejectCall);
    });
    try {
      return await Promise.race([what(this.#control), gone]);
    } finally {
      this.#pending.delete(reject!);
    }
  }

  async stop(): Promise<void> {
    if (this.#gone === undefined) {
      this.#stopping = true;
      // The answer may be lost with the port that the worker closes: the end of its task is what counts.
      this.#control.stop().catch(() => undefined);
      await this.#ended;
    }
    await this.#pool.destroy();
  }
}
