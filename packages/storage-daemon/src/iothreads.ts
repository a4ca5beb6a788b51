import type { IOErrorReport, IOThreadReport, IOThreadRuntime } from '@iothreads/iothread';
import type { Log } from './log.js';
import type { ObjectOptions } from './options/object-options.js';
import { StorageDaemonError } from './storage-daemon-error.js';

/** The iothread of exports that name none. */
const MAIN_LOOP = 'main-loop';

interface IOThreadObject {
  readonly options: ObjectOptions;
  /** Settled once its worker runs, or can't. */
  readonly started: Promise<void>;
  /** Exports that it serves. */
  readonly users: Set<string>;
}

/** The iothreads: QEMU's objects of that name, and the runtime below them, loaded when first needed. */
export class IOThreads {
  readonly #log: Log;
  readonly #objects = new Map<string, IOThreadObject>();
  readonly #onIOError: (exportId: string, report: IOErrorReport) => void;
  #runtime: Promise<IOThreadRuntime> | undefined;

  /** @param onIOError hears of requests that the disk of an export has failed */
  constructor(log: Log, onIOError: (exportId: string, report: IOErrorReport) => void) {
    this.#log = log;
    this.#onIOError = onIOError;
  }

  runtime(): Promise<IOThreadRuntime> {
    return (this.#runtime ??= this.#load());
  }

  /** Begins to load the runtime; whoever needs it hears of a failure. */
  prepare(): void {
    this.runtime().catch(() => undefined);
  }

  /** Begins to start the daemon's own iothread; whoever needs it hears of a failure. */
  prepareOwn(): void {
    if (!this.#objects.has(MAIN_LOOP)) this.#startOwn().catch(() => undefined);
  }

  async #load(): Promise<IOThreadRuntime> {
    const { IOThreadRuntime } = await import('@iothreads/iothread');
    const runtime = new IOThreadRuntime();
    runtime.on('iothreadDied', (_, { message }, restarting) => {
      const consequence = restarting
        ? 'it is started again'
        : "its exports don't work any more, restart the daemon";
      this.#log.write('error', `${message}; ${consequence}`);
    });
    runtime.on('iothreadRestarted', (id) => {
      const message = `iothread '${id}' has been started again; its exports are served again when their front ends reconnect`;
      this.#log.write('info', message);
    });
    runtime.on('driverError', (iothread, { driver, operation, message, suppressed }) => {
      const more = suppressed === 0 ? '' : ` (${suppressed} errors before left out)`;
      this.#log.write('error', `iothread '${iothread}': driver ${driver}: ${operation}: ${message}${more}`);
    });
    runtime.on('ioError', this.#onIOError);
    // A guest can break rings as often as it likes.
    const limited = this.#log.limited();
    runtime.on('deviceError', (id, error) => {
      limited('error', `export '${id}': ${error.message}`);
    });
    return runtime;
  }

  /**
   * Begins to start an iothread; its id is taken at once.
   * @returns what resolves when it runs
   * @throws StorageDaemonError `ERR_DUPLICATE_ID`
   */
  add(options: ObjectOptions): Promise<void> {
    const { id } = options;
    if (id === MAIN_LOOP) {
      throw new StorageDaemonError(
        'ERR_DUPLICATE_ID',
        `id '${MAIN_LOOP}' is that of the daemon's own iothread; choose another one`,
      );
    }
    if (this.#objects.has(id)) {
      throw new StorageDaemonError(
        'ERR_DUPLICATE_ID',
        `attempt to add duplicate property '${id}' to object (type 'container'): there is an object with this id`,
      );
    }
    return this.#start(options);
  }

  #start(options: ObjectOptions): Promise<void> {
    const { id } = options;
    const started = this.#addToRuntime(options);
    this.#objects.set(id, { options, started, users: new Set() });
    // Whoever asked for it hears of the failure; its name is free again.
    started.catch(() => this.#objects.delete(id));
    return started;
  }

  #startOwn(): Promise<void> {
    return this.#start({ 'qom-type': 'iothread', id: MAIN_LOOP });
  }

  async #addToRuntime(options: ObjectOptions): Promise<void> {
    const runtime = await this.runtime();
    await runtime.addIOThread({
      id: options.id,
      ...(options['poll-max-ns'] === undefined ? {} : { pollMaxNs: options['poll-max-ns'] }),
      ...(options['poll-grow'] === undefined ? {} : { pollGrow: options['poll-grow'] }),
      ...(options['poll-shrink'] === undefined ? {} : { pollShrink: options['poll-shrink'] }),
    });
  }

  /** @throws StorageDaemonError `ERR_NOT_FOUND`, `ERR_IN_USE` */
  async remove(id: string): Promise<void> {
    const object = this.#objects.get(id);
    if (object === undefined || id === MAIN_LOOP) {
      throw new StorageDaemonError('ERR_NOT_FOUND', `object '${id}' not found`);
    }
    if (object.users.size > 0) {
      const users = [...object.users].map((user) => `'${user}'`).join(', ');
      throw new StorageDaemonError(
        'ERR_IN_USE',
        `object '${id}' is in use, it can not be deleted: it serves export ${users}`,
      );
    }
    this.#objects.delete(id);
    const runtime = await this.runtime();
    await runtime.removeIOThread(id);
  }

  /**
   * The iothreads that are to serve an export, running.
   * @param named none for the daemon's own
   * @throws StorageDaemonError `ERR_NOT_FOUND`, `ERR_PARAMETER`
   */
  async resolve(named: readonly string[]): Promise<readonly string[]> {
    for (const [index, id] of named.entries()) {
      if (id === MAIN_LOOP || !this.#objects.has(id)) {
        throw new StorageDaemonError(
          'ERR_NOT_FOUND',
          `iothread "${id}" not found; an object iothread,id=${id} has to be made before`,
        );
      }
      if (named.indexOf(id) !== index) {
        throw new StorageDaemonError('ERR_PARAMETER', `iothread '${id}' is named twice`);
      }
    }
    const ids = named.length > 0 ? named : [MAIN_LOOP];
    if (named.length === 0 && !this.#objects.has(MAIN_LOOP)) await this.#startOwn();
    await Promise.all(ids.map((id) => this.#objects.get(id)!.started));
    return ids;
  }

  /** Notes which iothreads an export uses, instead of those before. */
  use(exportId: string, iothreads: readonly string[]): void {
    for (const [id, { users }] of this.#objects) {
      if (iothreads.includes(id)) users.add(exportId);
      else users.delete(exportId);
    }
  }

  /** Ids of the objects that a user has made. */
  ids(): readonly string[] {
    return [...this.#objects.keys()].filter((id) => id !== MAIN_LOOP);
  }

  /** What the runtime says of all iothreads, the daemon's own included. */
  async query(): Promise<readonly (IOThreadReport & { readonly aioMaxBatch: number })[]> {
    if (this.#runtime === undefined) return [];
    const reports = await (await this.#runtime).queryIOThreads();
    return reports.map((report) => ({
      ...report,
      aioMaxBatch: this.#objects.get(report.id)?.options['aio-max-batch'] ?? 0,
    }));
  }

  async close(): Promise<void> {
    if (this.#runtime === undefined) return;
    const runtime = await this.#runtime;
    await runtime.close();
  }
}
