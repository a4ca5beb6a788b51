import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { createInterface } from 'node:readline';
import { within } from '../../support/within.js';

type Message = Readonly<Record<string, unknown>>;

/** One conversation with a daemon's monitor; events are passed over. */
export class Qmp {
  readonly #socket: Socket;
  readonly #messages: AsyncIterator<string>;

  private constructor(socket: Socket) {
    this.#socket = socket;
    this.#messages = createInterface({ input: socket })[Symbol.asyncIterator]();
  }

  static async connect(path: string): Promise<Qmp> {
    const socket = connect(path);
    await once(socket, 'connect');
    const qmp = new Qmp(socket);
    await qmp.#next('QMP');
    await qmp.execute('qmp_capabilities');
    return qmp;
  }

  /** @returns what the command returned. @throws Error with what the daemon says is wrong */
  async execute(command: string, args?: Message): Promise<unknown> {
    this.#socket.write(`${JSON.stringify({ execute: command, arguments: args })}\n`);
    const { return: returned, error } = await this.#next('return', 'error');
    if (error !== undefined) throw new Error(`${command}: ${JSON.stringify(error)}`);
    return returned;
  }

  /** The next message that has one of these members. */
  async #next(...members: readonly string[]): Promise<Message> {
    for (;;) {
      const { done, value } = await within(this.#messages.next(), 'a message of the monitor');
      if (done === true) throw new Error('the monitor hung up');
      const message = JSON.parse(value) as Message;
      if (members.some((member) => member in message)) return message;
    }
  }

  close(): void {
    this.#socket.destroy();
  }
}
