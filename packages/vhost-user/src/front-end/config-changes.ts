import { closeFd, createSocketPair } from '@iothreads/linux';
import { Connection } from '../connection.js';
import { BackendRequest } from '../protocol/requests.js';

/** The front end's side of the back end's own channel: counts the changes of the configuration that it hears of. */
export class ConfigChanges {
  readonly #connection: Connection;
  readonly #listened: Promise<void>;
  #count = 0;
  #waiting: (() => void)[] = [];

  /**
   * Opens such a channel, and listens to it.
   * @param offer gives the other end to the back end, and leaves it open
   */
  static async open(offer: (fd: number) => Promise<void>): Promise<ConfigChanges> {
    const [mine, theirs] = createSocketPair();
    const changes = new ConfigChanges(mine);
    try {
      await offer(theirs);
    } catch (error) {
      await changes.close();
      throw error;
    } finally {
      closeFd(theirs);
    }
    return changes;
  }

  private constructor(fd: number) {
    this.#connection = new Connection(fd);
    this.#listened = this.#listen();
  }

  /** How many there have been. */
  get count(): number {
    return this.#count;
  }

  /** Resolves when there have been more than `seen`, or the channel is closed. */
  async moreThan(seen: number): Promise<void> {
    while (this.#count <= seen && !this.#connection.closed) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve));
    }
  }

  /** Closes the channel; those who wait for a change go on. */
  async close(): Promise<void> {
    this.#connection.close();
    await this.#listened;
  }

  async #listen(): Promise<void> {
    try {
      for (let message = await this.#connection.receive(); message !== undefined;) {
        message.fds.closeRest();
        if (message.request === BackendRequest.CONFIG_CHANGE_MSG) this.#count++;
        this.#wake();
        message = await this.#connection.receive();
      }
    } finally {
      this.#connection.close();
      this.#wake();
    }
  }

  #wake(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
