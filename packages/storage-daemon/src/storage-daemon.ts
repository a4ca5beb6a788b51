import { BlockGraph } from './block-graph.js';
import { Chardevs } from './chardev/chardevs.js';
import { describeError, isExpected } from './describe-error.js';
import { Exports } from './exports.js';
import { ioErrorEvent, IOErrors } from './io-errors.js';
import { IOThreads } from './iothreads.js';
import type { Log } from './log.js';
import { Monitors } from './qmp/monitors.js';
import { StorageDaemonError } from './storage-daemon-error.js';
import type { Supervision } from './supervise/supervision.js';

/** Everything that a daemon has, and one thing that happens to it at a time. */
export class StorageDaemon {
  readonly log: Log;
  readonly supervision: Supervision;
  readonly iothreads: IOThreads;
  readonly graph: BlockGraph;
  readonly exports: Exports;
  readonly chardevs: Chardevs;
  readonly monitors: Monitors;
  readonly #stop = new AbortController();
  readonly #admission: Promise<void>;
  #admit!: () => void;
  #turn: Promise<unknown> = Promise.resolve();
  #begun: Promise<unknown> = Promise.resolve();
  #closed = false;

  constructor(log: Log, supervision: Supervision, options: { readonly stdioAllowed: boolean }) {
    this.log = log;
    this.supervision = supervision;
    const ioErrors = new IOErrors(log);
    this.iothreads = new IOThreads(log, (id, report) => {
      const node = this.exports.find(id)?.node.name;
      if (node === undefined) return;
      ioErrors.log(id, report);
      this.monitors.notify('BLOCK_IO_ERROR', ioErrorEvent(id, node, report));
    });
    this.graph = new BlockGraph(log);
    this.#admission = new Promise((resolve) => {
      this.#admit = resolve;
    });
    this.exports = new Exports(this.graph, this.iothreads, log, this.#admission);
    this.chardevs = new Chardevs({
      stopping: this.stopping,
      // A daemon that was started again had its first client in an earlier life.
      mayWait: () => supervision.restarts.count === 0,
      ...options,
    });
    this.monitors = new Monitors(
      async (name, args) => {
        const { executeCommand } = await import('./qmp/execute-command.js');
        return executeCommand(this, name, args);
      },
      this.#admission,
      (bug) => {
        // Where nobody waits for an answer, Node.js says what has happened, and where.
        queueMicrotask(() => {
          throw bug;
        });
      },
    );
  }

  /** Aborted when the daemon is to end. */
  get stopping(): AbortSignal {
    return this.#stop.signal;
  }

  /** From now on whoever connects is served: before, there may be privileges that they are not to come near. */
  admit(): void {
    this.#admit();
  }

  /** Asks the daemon to end; `daemon.ts` sees to it. */
  stop(): void {
    this.#stop.abort();
  }

  /** Does what its options say. QMP clients that are there already get their answers when all of it has been done. */
  async begin(what: () => Promise<void>): Promise<void> {
    const done = this.exclusive(what);
    this.#begun = done.catch(() => undefined);
    await done;
  }

  /** Does one thing whatever else is being done, once the options have taken effect. */
  async atOnce<Result>(what: () => Promise<Result>): Promise<Result> {
    await this.#begun;
    this.#expectOpen();
    return what();
  }

  /** Does one thing after what has been begun before: nodes, exports and objects depend on each other. */
  exclusive<Result>(what: () => Promise<Result>): Promise<Result> {
    const result = this.#turn.then(() => {
      this.#expectOpen();
      return what();
    });
    this.#turn = result.catch(() => undefined);
    return result;
  }

  #expectOpen(): void {
    if (this.#closed) throw new StorageDaemonError('ERR_STOPPING', 'the daemon is about to end');
  }

  /**
   * Ends what there is, users before what they use; nothing is left behind.
   * @returns whether all went well; the log has what didn't
   */
  async close(): Promise<boolean> {
    this.stop();
    await this.#turn;
    this.#closed = true;
    this.admit();
    let well = true;
    const attempt = async (what: string, close: () => Promise<void>): Promise<void> => {
      try {
        await close();
      } catch (error) {
        if (!isExpected(error)) throw error;
        well = false;
        this.log.write('error', `${what}: ${describeError(error)}`);
      }
    };
    await attempt('exports', () => this.exports.close());
    await attempt('nodes', () => this.graph.close());
    await attempt('iothreads', () => this.iothreads.close());
    await attempt('monitors', () => this.monitors.close());
    await attempt('character devices', () => this.chardevs.close());
    return well;
  }
}
