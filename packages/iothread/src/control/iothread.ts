import type { PollingSettings } from '@iothreads/core';
import { type Remote, wrap } from 'comlink';
import { MessageChannel } from 'node:worker_threads';
import { Piscina } from 'piscina';
import { IOThreadError } from '../iothread-error.js';
import { LoopStatistics } from '../shared/loop-statistics.js';
import type { IOThreadControl, IOThreadStart } from '../worker/iothread-control.js';
import { asEndpoint } from './endpoint.js';
import './error-transfer.js';

/** The worker's module, resolved once; bundlers move it and say where to. */
export const IOTHREAD_WORKER_URL = new URL('../worker/iothread-worker.js', import.meta.url);

/** An iothread as the controlling thread sees it: a worker with one long task, and the line to it. */
export class IOThread {
  readonly id: string;
  readonly slot: number;
  readonly polling: PollingSettings;
  readonly statistics = new LoopStatistics();
  /** Rejects with `ERR_IOTHREAD_DIED` when the worker ends, told to or not: no call is answered after that. */
  readonly died: Promise<never>;
  readonly #pool: Piscina;
  readonly #control: Remote<IOThreadControl>;
  readonly #ended: Promise<void>;
  #alive = true;
  #stopping = false;

  constructor(options: {
    readonly id: string;
    readonly slot: number;
    readonly polling: PollingSettings;
    readonly wakeBuffer: SharedArrayBuffer;
    readonly workerUrl: URL;
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
    const start: IOThreadStart = {
      slot: options.slot,
      wakeBuffer: options.wakeBuffer,
      statisticsBuffer: this.statistics.buffer,
      polling: options.polling,
    };
    const task: Promise<void> = this.#pool.run({ ...start, port: port2 }, { transferList: [port2] });
    this.#control = wrap<IOThreadControl>(asEndpoint(port1));
    this.died = new Promise<never>((_, reject) => {
      const dead = (cause: unknown): void => {
        this.#alive = false;
        port1.close();
        if (this.#stopping) {
          reject(new IOThreadError('ERR_IOTHREAD_DIED', `iothread '${this.id}' has been stopped`));
          return;
        }
        const why = cause instanceof Error ? cause.message : 'its task ended';
        const error = new IOThreadError('ERR_IOTHREAD_DIED', `iothread '${this.id}' died: ${why}`, { cause });
        reject(error);
        void this.#pool.destroy();
        // Last: a listener that throws harms nobody but itself.
        options.onDeath(error);
      };
      task.then(dead, dead);
    });
    // Whoever calls sees the rejection through `call`; nobody has to.
    this.died.catch(() => undefined);
    this.#ended = task.then(
      () => undefined,
      () => undefined,
    );
  }

  get alive(): boolean {
    return this.#alive;
  }

  /**
   * Calls the iothread's control plane.
   * @throws IOThreadError `ERR_IOTHREAD_DIED` when the worker dies before it answers, and whatever the call throws
   */
  call<Result>(what: (control: Remote<IOThreadControl>) => Promise<Result>): Promise<Result> {
    // Comlink waits for ever for a worker that is gone, hence the race.
    return Promise.race([this.#alive ? what(this.#control) : this.died, this.died]);
  }

  async stop(): Promise<void> {
    if (this.#alive) {
      this.#stopping = true;
      // The answer may be lost with the port that the worker closes: the end of its task is what counts.
      this.#control.stop().catch(() => undefined);
      await this.#ended;
    }
    await this.#pool.destroy();
  }
}
