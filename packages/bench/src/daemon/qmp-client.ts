import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';

interface QmpMessage {
  readonly return?: unknown;
  readonly error?: { readonly desc: string };
  readonly event?: string;
  readonly data?: unknown;
}

/** A command that was refused. */
export class QmpError extends Error {
  override readonly name = 'QmpError';
}

/** Against hangs: longer than the daemon waits for requests that don't complete. */
const DEADLINE_MS = 120_000;

/** A client of a daemon's monitor; one command after the other. */
export class QmpClient {
  readonly #socket: Socket;
  readonly #onEvent: (name: string, data: unknown) => void;
  #last: Promise<unknown> = Promise.resolve();
  #answer: { resolve: (message: QmpMessage) => void; reject: (error: Error) => void } | undefined;

  private constructor(socket: Socket, onEvent: (name: string, data: unknown) => void) {
    this.#socket = socket;
    this.#onEvent = onEvent;
    socket.on('error', () => undefined);
    socket.on('close', () => this.#answer?.reject(new Error('the monitor has hung up')));
    const lines = createInterface({ input: socket });
    // It hands on the socket's errors.
    lines.on('error', () => undefined);
    lines.on('line', (line) => {
      const message = JSON.parse(line) as QmpMessage;
      if (message.event === undefined) this.#answer?.resolve(message);
      else this.#onEvent(message.event, message.data);
    });
  }

  /** Connects and negotiates. */
  static async connect(path: string, onEvent: (name: string, data: unknown) => void): Promise<QmpClient> {
    const socket = connect(path);
    await once(socket, 'connect');
    const client = new QmpClient(socket, onEvent);
    await client.#next('the greeting');
    await client.execute('qmp_capabilities');
    return client;
  }

  /** @returns what the command returns @throws QmpError when it is refused */
  execute(command: string, args: object = {}): Promise<unknown> {
    const done = this.#last.then(() => this.#execute(command, args));
    this.#last = done.catch(() => undefined);
    return done;
  }

  async #execute(command: string, args: object): Promise<unknown> {
    const answer = this.#next(command);
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    const message = await answer;
    if (message.error !== undefined) throw new QmpError(`${command}: ${message.error.desc}`);
    return message.return;
  }

  close(): void {
    this.#socket.destroy();
  }

  async #next(what: string): Promise<QmpMessage> {
    if (this.#socket.destroyed) throw new Error('the monitor has hung up');
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<QmpMessage>((resolve, reject) => {
        this.#answer = { resolve, reject };
        timer = setTimeout(() => {
          reject(new Error(`the monitor has not answered for ${DEADLINE_MS / 1000} s: ${what}`));
        }, DEADLINE_MS);
      });
    } finally {
      clearTimeout(timer);
      this.#answer = undefined;
    }
  }
}
