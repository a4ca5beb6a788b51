import { setTimeout } from 'node:timers/promises';
import type { Chardev, ChardevClient } from '../chardev/chardev.js';
import type { MonitorOptions } from '../options/monitor-options.js';
import { type ExecuteCommand, QmpSession } from './qmp-session.js';

/** How long a client may take to read its last answers when the daemon ends. */
const FAREWELL_MS = 1000;

/** The QMP monitors and the clients that talk to them. */
export class Monitors {
  readonly #execute: ExecuteCommand;
  readonly #sessions = new Map<QmpSession, ChardevClient>();
  readonly #admission: Promise<void>;
  readonly #onBug: (error: unknown) => void;
  #count = 0;

  /**
   * @param admission resolves when clients may be served
   * @param onBug hears of what no client has caused
   */
  constructor(execute: ExecuteCommand, admission: Promise<void>, onBug: (error: unknown) => void) {
    this.#execute = execute;
    this.#admission = admission;
    this.#onBug = onBug;
  }

  get count(): number {
    return this.#count;
  }

  add(chardev: Chardev, { pretty = false }: MonitorOptions): void {
    this.#count++;
    chardev.attach(async (client) => {
      await this.#admission;
      const session = new QmpSession(client, this.#execute, pretty);
      this.#sessions.set(session, client);
      try {
        await session.run();
      } catch (error) {
        this.#onBug(error);
      } finally {
        this.#sessions.delete(session);
      }
    });
  }

  /** Tells all clients of an event. */
  notify(event: string, data: unknown): void {
    for (const session of this.#sessions.keys()) session.notify(event, data);
  }

  /** Lets all clients read what has been said, for a moment. */
  async close(): Promise<void> {
    const said = [...this.#sessions.values()].map(
      ({ output }) =>
        new Promise<void>((resolve) => {
          // Called with an error where the client has gone already: then nobody waits for anything either.
          output.write('', () => resolve());
        }),
    );
    await Promise.race([Promise.all(said), setTimeout(FAREWELL_MS, undefined, { ref: false })]);
  }
}
