import type { ChardevOptions, SocketChardevOptions } from '../options/chardev-options.js';
import { checkRoom, StorageDaemonError } from '../storage-daemon-error.js';
import type { Chardev } from './chardev.js';

/** Character devices that there can be: each may have a client, and more in line. */
export const MAX_CHARDEVS = 256;

/** The character devices by their ids. */
export class Chardevs {
  readonly #chardevs = new Map<string, Chardev>();
  /** Ids of those that a monitor has. */
  readonly #busy = new Set<string>();
  readonly #stopping: AbortSignal;
  readonly #mayWait: () => boolean;
  readonly #stdioAllowed: boolean;

  /**
   * @param options.stopping ends waiting for a client
   * @param options.mayWait whether `wait=on` does
   */
  constructor(options: {
    readonly stopping: AbortSignal;
    readonly mayWait: () => boolean;
    readonly stdioAllowed: boolean;
  }) {
    this.#stopping = options.stopping;
    this.#mayWait = options.mayWait;
    this.#stdioAllowed = options.stdioAllowed;
  }

  /** @throws StorageDaemonError `ERR_DUPLICATE_ID`, `ERR_IN_USE`, `ERR_DAEMONIZE`, `ERR_SOCKET` */
  async add(options: ChardevOptions): Promise<void> {
    const { id } = options;
    if (this.#chardevs.has(id)) {
      throw new StorageDaemonError('ERR_DUPLICATE_ID', `Chardev with id '${id}' already exists`);
    }
    checkRoom(this.#chardevs.size, MAX_CHARDEVS, 'character devices');
    this.#chardevs.set(id, options.backend === 'stdio' ? await this.#stdio(id) : await this.#socket(options));
  }

  async #socket(options: SocketChardevOptions): Promise<Chardev> {
    const { SocketChardev } = await import('./socket-chardev.js');
    const wait = (options.wait ?? true) && this.#mayWait();
    return SocketChardev.open({ ...options, wait }, this.#stopping);
  }

  async #stdio(id: string): Promise<Chardev> {
    if (!this.#stdioAllowed) {
      throw new StorageDaemonError(
        'ERR_DAEMONIZE',
        'cannot use stdio with --daemonize; use a socket, or leave --daemonize out',
      );
    }
    if ([...this.#chardevs.values()].some((chardev) => chardev.kind === 'stdio')) {
      throw new StorageDaemonError('ERR_IN_USE', 'cannot use stdio by multiple character devices');
    }
    const { StdioChardev } = await import('./stdio-chardev.js');
    return new StdioChardev(id);
  }

  /** Takes a character device for a monitor. @throws StorageDaemonError `ERR_NOT_FOUND`, `ERR_IN_USE` */
  claim(id: string): Chardev {
    const chardev = this.#chardevs.get(id);
    if (chardev === undefined) {
      throw new StorageDaemonError(
        'ERR_NOT_FOUND',
        `chardev "${id}" not found; a --chardev with that id has to stand before`,
      );
    }
    if (this.#busy.has(id)) {
      throw new StorageDaemonError('ERR_IN_USE', `Device '${id}' is in use by another monitor`);
    }
    this.#busy.add(id);
    return chardev;
  }

  /** @throws StorageDaemonError `ERR_NOT_FOUND`, `ERR_IN_USE` */
  async remove(id: string): Promise<void> {
    const chardev = this.#chardevs.get(id);
    if (chardev === undefined) throw new StorageDaemonError('ERR_NOT_FOUND', `Chardev '${id}' not found`);
    if (this.#busy.has(id)) {
      throw new StorageDaemonError('ERR_IN_USE', `Chardev '${id}' is busy: a monitor uses it`);
    }
    this.#chardevs.delete(id);
    await chardev.close();
  }

  list(): readonly Chardev[] {
    return [...this.#chardevs.values()];
  }

  async close(): Promise<void> {
    const chardevs = this.list();
    this.#chardevs.clear();
    await Promise.all(chardevs.map((chardev) => chardev.close()));
  }
}
