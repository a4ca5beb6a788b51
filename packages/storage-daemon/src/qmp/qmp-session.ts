import type { ChardevClient } from '../chardev/chardev.js';
import { describeError, isExpected, oneLine } from '../describe-error.js';
import { PROGRAM, QEMU_VERSION, VERSION } from '../program.js';
import { StorageDaemonError } from '../storage-daemon-error.js';
import { JsonStream } from './json-stream.js';

/** Does a command. @throws errors with a `code`, which become QMP errors */
export type ExecuteCommand = (name: string, args: unknown) => Promise<unknown>;

/** What a client may leave unread of events before it is given up, bytes. */
export const MAX_UNREAD = 1 << 20;

export const VERSION_INFO = {
  qemu: { ...QEMU_VERSION },
  package: `${PROGRAM} ${VERSION}`,
};

/** A QMP conversation with one client. */
export class QmpSession {
  readonly #client: ChardevClient;
  readonly #execute: ExecuteCommand;
  readonly #indent: number;
  #negotiated = false;

  constructor(client: ChardevClient, execute: ExecuteCommand, pretty: boolean) {
    this.#client = client;
    this.#execute = execute;
    this.#indent = pretty ? 4 : 0;
  }

  /** Greets, then answers one command after the other, until the client is gone. */
  async run(): Promise<void> {
    const { input } = this.#client;
    const messages = new JsonStream();
    input.setEncoding('utf8');
    await this.#send({ QMP: { version: VERSION_INFO, capabilities: [] } });
    try {
      for await (const chunk of input) {
        for (const message of messages.push(chunk as string)) {
          await this.#send(
            'error' in message ? errorReply(message.error) : await this.#answer(message.value),
          );
        }
      }
    } catch (error) {
      // A connection that was reset, or ended from our side, is over: there is nobody left to tell.
      if (!isExpected(error)) throw error;
    }
  }

  /** Tells the client of an event, once it has negotiated. */
  notify(event: string, data: unknown): void {
    const { output } = this.#client;
    if (!this.#negotiated || !output.writable) return;
    if (output.writableLength > MAX_UNREAD) {
      output.destroy();
      return;
    }
    const microseconds = Date.now() * 1000;
    const timestamp = { seconds: Math.floor(microseconds / 1e6), microseconds: microseconds % 1e6 };
    output.write(this.#line({ timestamp, event, data }));
  }

  async #answer(message: unknown): Promise<unknown> {
    let id: { readonly id?: unknown } = {};
    try {
      if (typeof message !== 'object' || message === null || Array.isArray(message)) {
        throw mistake('QMP input must be a JSON object');
      }
      if ('id' in message) id = { id: message.id };
      const { name, args } = readCommand(message);
      const result =
        this.#negotiated && name !== 'qmp_capabilities'
          ? await this.#execute(name, args)
          : this.#negotiate(name, args);
      return { return: result ?? {}, ...id };
    } catch (error) {
      if (!isExpected(error)) throw error;
      return { ...errorReply(error), ...id };
    }
  }

  #negotiate(name: string, args: object): void {
    if (name !== 'qmp_capabilities') {
      throw new StorageDaemonError(
        'ERR_COMMAND_NOT_FOUND',
        "Expecting capabilities negotiation with 'qmp_capabilities'",
      );
    }
    if (this.#negotiated) {
      throw new StorageDaemonError(
        'ERR_COMMAND_NOT_FOUND',
        'Capabilities negotiation is already complete, command ignored',
      );
    }
    for (const [key, value] of Object.entries(args)) {
      if (key !== 'enable') throw mistake(`Parameter '${key}' is unexpected`);
      if (!Array.isArray(value)) throw mistake("Invalid parameter type for 'enable', expected: array");
      if (value.length > 0) throw mistake(`Capability ${String(value[0])} is not available`);
    }
    this.#negotiated = true;
  }

  /** Waits while the client doesn't read: it gets no further answers before it has taken these. */
  async #send(reply: unknown): Promise<void> {
    const { output } = this.#client;
    if (!output.writable || output.write(this.#line(reply))) return;
    await new Promise<void>((resolve) => {
      // Both go: a client that reads slowly would leave one behind for every answer.
      const goOn = (): void => {
        output.off('drain', goOn).off('close', goOn);
        resolve();
      };
      output.on('drain', goOn).on('close', goOn);
    });
  }

  #line(reply: unknown): string {
    return `${JSON.stringify(reply, undefined, this.#indent)}\r\n`;
  }
}

function readCommand(message: object): { readonly name: string; readonly args: object } {
  for (const key of Object.keys(message)) {
    if (key !== 'execute' && key !== 'arguments' && key !== 'id') {
      throw mistake(`QMP input member '${key}' is unexpected`);
    }
  }
  if (!('execute' in message)) throw mistake("QMP input lacks member 'execute'");
  if (typeof message.execute !== 'string') throw mistake("QMP input member 'execute' must be a string");
  const args = 'arguments' in message ? message.arguments : {};
  if (typeof args !== 'object' || args === null || Array.isArray(args)) {
    throw mistake("QMP input member 'arguments' must be an object");
  }
  return { name: message.execute, args };
}

function errorReply(error: Error & { readonly code: string }): { readonly error: object } {
  return { error: { class: errorClass(error.code), desc: oneLine(describeError(error)) } };
}

function errorClass(code: string): string {
  if (code === 'ERR_COMMAND_NOT_FOUND') return 'CommandNotFound';
  return code === 'ERR_DEVICE_NOT_FOUND' ? 'DeviceNotFound' : 'GenericError';
}

function mistake(message: string): StorageDaemonError {
  return new StorageDaemonError('ERR_JSON', message);
}
