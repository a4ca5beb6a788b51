import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { within } from '../../../../test/support/within.js';

export interface QmpMessage {
  readonly QMP?: { readonly version: unknown; readonly capabilities: readonly unknown[] };
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
  readonly event?: string;
  readonly data?: unknown;
  readonly id?: unknown;
}

/** The other end of a QMP monitor. */
export class QmpClient implements Disposable {
  readonly socket: Socket;
  readonly events: QmpMessage[] = [];
  readonly #messages: QmpMessage[] = [];
  #text = '';
  #arrived: () => void = () => undefined;
  #closed = false;

  constructor(socket: Socket) {
    this.socket = socket;
    socket.on('error', () => undefined);
    socket.on('close', () => {
      this.#closed = true;
      this.#arrived();
    });
    socket.on('data', (data: Buffer) => {
      this.#text += data.toString();
      const lines = this.#text.split('\r\n');
      this.#text = lines.pop()!;
      for (const line of lines) {
        const message = JSON.parse(line) as QmpMessage;
        if (message.event === undefined) this.#messages.push(message);
        else this.events.push(message);
      }
      this.#arrived();
    });
  }

  /** Connects and negotiates. */
  static async connect(path: string): Promise<QmpClient> {
    const client = await QmpClient.open(path);
    await client.next();
    await client.execute('qmp_capabilities');
    return client;
  }

  /** Connects; the greeting is the next message. */
  static async open(path: string): Promise<QmpClient> {
    const socket = connect(path);
    await within(once(socket, 'connect'), `a connection to ${path}`);
    return new QmpClient(socket);
  }

  send(text: string): void {
    this.socket.write(text);
  }

  /** The next message that is no event; undefined when the connection has ended. */
  async next(): Promise<QmpMessage | undefined> {
    for (;;) {
      const message = this.#messages.shift();
      if (message !== undefined || this.#closed) return message;
      await within(
        new Promise<void>((resolve) => {
          this.#arrived = resolve;
        }),
        'a QMP message',
      );
    }
  }

  /** @returns what the command returns @throws the error's description */
  async execute(command: string, args?: unknown): Promise<unknown> {
    this.send(
      JSON.stringify(args === undefined ? { execute: command } : { execute: command, arguments: args }),
    );
    const reply = await this.next();
    if (reply?.error !== undefined) throw new Error(`${reply.error.class}: ${reply.error.desc}`);
    return reply?.return;
  }

  [Symbol.dispose](): void {
    this.socket.destroy();
  }
}
