import { wrap } from 'comlink';
import { MessageChannel, type MessagePort, receiveMessageOnPort } from 'node:worker_threads';
import { Piscina } from 'piscina';
import { IOThreadError } from '../iothread-error.js';
import type { WorkerReport } from '../worker/driver-error-reports.js';
import type { IOThreadControl, IOThreadStart } from '../worker/iothread-control.js';
import type { RemainsReport } from '../worker/thread-remains.js';
import { loadLinux } from '../worker/load-linux.js';
import { asEndpoint } from './endpoint.js';
import './error-transfer.js';

/**
 * The control plane from afar: every method by a promise. Comlink's own type for that would stand in what is published, and
 * asks for the browser's types.
 */
export type RemoteControl = {
  readonly [Name in keyof IOThreadControl]: (
    ...args: Parameters<IOThreadControl[Name]>
  ) => Promise<Awaited<ReturnType<IOThreadControl[Name]>>>;
};

/** One life of an iothread: a worker with one long task, and the line to it. */
export class WorkerThread {
  /** Resolves when its task is over, with how: it has been stopped, or died. */
  readonly ended: Promise<IOThreadError>;
  /**
   * Resolves when nothing of it can touch guest memory or a disk any more, a while after `ended`; with false when nobody can say.
   *
   * A worker that exits or throws is reported at once, and still runs then. It is gone when Node.js says so ('exit'): before that
   * Node.js waits for system calls of its thread pool, however long they take. What is left is the kernel's, an io_uring, which
   * belongs to the process: that is closed here, and waited for.
   */
  readonly buried: Promise<boolean>;
  readonly #id: string;
  readonly #pool: Piscina;
  readonly #control: RemoteControl;
  /** How to end the calls that wait for an answer. */
  readonly #pending = new Set<(error: IOThreadError) => void>();
  /** Why the worker is gone, once it is. */
  #gone: IOThreadError | undefined;
  #stopping = false;

  constructor(options: {
    readonly id: string;
    readonly start: IOThreadStart;
    readonly workerUrl: URL;
    readonly onReport: (report: WorkerReport) => void;
  }) {
    this.#id = options.id;
    // A thread of its own for each iothread: a task that never ends would keep others of its pool waiting.
    this.#pool = new Piscina({
      filename: options.workerUrl.href,
      minThreads: 1,
      maxThreads: 1,
      // Piscina's default parks an idle worker in Atomics.wait, and its event loop with it.
      atomics: 'disabled',
    });
    const [worker] = this.#pool.threads;
    const exited = new Promise((resolve) => {
      worker!.once('exit', resolve);
    });
    // Piscina puts others in its place, at its error and once more at its exit: they go when it is gone for good.
    void exited.then(() => this.#pool.destroy());
    const calls = new MessageChannel();
    const reports = new MessageChannel();
    const remains = new MessageChannel();
    reports.port1.on('message', options.onReport);
    // Waiting for bad news keeps no process alive.
    reports.port1.unref();
    const ports = { port: calls.port2, reports: reports.port2, remains: remains.port2 };
    const task: Promise<void> = this.#pool.run(
      { ...options.start, ...ports },
      { transferList: Object.values(ports) },
    );
    this.#control = wrap<IOThreadControl>(asEndpoint(calls.port1));
    const ended = (cause: unknown): IOThreadError => {
      calls.port1.close();
      reports.port1.close();
      const why = this.#stopping
        ? 'has been stopped'
        : `died: ${cause instanceof Error ? cause.message : 'its task ended'}`;
      const error = new IOThreadError('ERR_IOTHREAD_DIED', `iothread '${this.#id}' ${why}`, { cause });
      this.#gone = error;
      for (const reject of this.#pending) reject(error);
      this.#pending.clear();
      return error;
    };
    this.ended = task.then(ended, ended);
    this.buried = exited.then(() => bury(remains.port1));
  }

  get alive(): boolean {
    return this.#gone === undefined;
  }

  /**
   * Calls its control plane.
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
      await this.ended;
    }
    await this.#pool.destroy();
  }
}

/** Closes the rings that a worker has left open, now that it is gone. @returns whether it is certain that they are idle */
async function bury(port: MessagePort): Promise<boolean> {
  const rings = new Map<number, Extract<RemainsReport, { opened: unknown }>['opened']>();
  for (let next = receiveMessageOnPort(port); next !== undefined; next = receiveMessageOnPort(port)) {
    const report = next.message as RemainsReport;
    if ('opened' in report) rings.set(report.opened.fd, report.opened);
    else rings.delete(report.closing);
  }
  port.close();
  if (rings.size === 0) return true;
  const { buryRing } = await loadLinux();
  const certain = await Promise.all([...rings.values()].map(buryRing));
  return !certain.includes(false);
}
