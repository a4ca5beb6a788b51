import { connectUnix, LinuxError } from '@iothreads/linux';
import { hasFeature } from '@iothreads/core';
import { Connection, type Message } from '../connection.js';
import { decodeU64 } from '../protocol/integers.js';
import { FLAG_NEED_REPLY } from '../protocol/message-header.js';
import { ProtocolFeature } from '../protocol/protocol-features.js';
import { requestName } from '../protocol/requests.js';
import { VhostUserError } from '../vhost-user-error.js';

/** Against hangs only: a drain may take its time. */
const ANSWER_TIMEOUT_MS = 30_000;

/** Descriptors that the kernel lets one send along: more than any message takes. */
const MAX_FDS = 253;

/** The messages of a front end, right or wrong: what a hostile one needs as well. */
export class FrontEndRequests {
  readonly #connection: Connection;
  /** Set once negotiated: decides whether requests without an answer of their own are acknowledged. */
  protocolFeatures = 0n;
  #last: Promise<unknown> = Promise.resolve();

  private constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** @throws VhostUserError with the errno name as its code when nobody listens there */
  static connect(path: string): FrontEndRequests {
    try {
      return new FrontEndRequests(new Connection(connectUnix(path), MAX_FDS));
    } catch (error) {
      if (!(error instanceof LinuxError)) throw error;
      throw new VhostUserError(error.code, `can't connect to '${path}' (${error.code})`);
    }
  }

  /** A request with an answer of its own. @returns the answer's payload; descriptors in it are closed */
  ask(
    request: number,
    payload: Uint8Array = new Uint8Array(),
    fds: readonly number[] = [],
  ): Promise<Uint8Array> {
    return this.#inTurn(async () => {
      this.#connection.send(request, 0, payload, fds);
      return this.#answer(request);
    });
  }

  /** A request whose answer brings a descriptor along, which is the caller's to close. @throws VhostUserError `ERR_PROTOCOL` */
  askForFd(request: number, payload: Uint8Array): Promise<{ payload: Uint8Array; fd: number }> {
    return this.#inTurn(async () => {
      this.#connection.send(request, 0, payload);
      const message = await this.#answerTo(request);
      if (message.fds.count === 0) {
        throw new VhostUserError(
          'ERR_PROTOCOL',
          `no descriptor came with the answer to ${requestName(request)}`,
        );
      }
      const fd = message.fds.take();
      message.fds.closeRest();
      return { payload: message.payload, fd };
    });
  }

  /**
   * A request without an answer of its own; waits for the acknowledgement where REPLY_ACK has been negotiated.
   * @throws VhostUserError `ERR_REFUSED`
   */
  tell(request: number, payload: Uint8Array = new Uint8Array(), fds: readonly number[] = []): Promise<void> {
    return this.#inTurn(async () => {
      if (!hasFeature(this.protocolFeatures, ProtocolFeature.REPLY_ACK)) {
        this.#connection.send(request, 0, payload, fds);
        return;
      }
      this.#connection.send(request, FLAG_NEED_REPLY, payload, fds);
      if (decodeU64(await this.#answer(request)) !== 0n) {
        throw new VhostUserError('ERR_REFUSED', `the back end has refused ${requestName(request)}`);
      }
    });
  }

  /** Sends a message and waits for nothing. @param flags besides the version */
  send(request: number, flags: number, payload: Uint8Array, fds: readonly number[] = []): void {
    this.#connection.send(request, flags, payload, fds);
  }

  /** Sends any bytes with any descriptors. */
  sendBytes(bytes: Uint8Array, fds: readonly number[] = []): void {
    this.#connection.sendBytes(bytes, fds);
  }

  /** The next message of the back end, for what was sent by `send`. @returns undefined when it has closed the connection */
  async receive(): Promise<Message | undefined> {
    let timer: NodeJS.Timeout | undefined;
    try {
      const timeout = new Promise<never>((_, reject) => {
        timer = setTimeout(() => {
          this.#connection.close();
          reject(new VhostUserError('ERR_TIMEOUT', 'the back end does not answer'));
        }, ANSWER_TIMEOUT_MS);
      });
      return await Promise.race([this.#connection.receive(), timeout]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Disconnects. */
  close(): void {
    this.#connection.close();
  }

  async #answer(request: number): Promise<Uint8Array> {
    const { payload, fds } = await this.#answerTo(request);
    fds.closeRest();
    return payload;
  }

  async #answerTo(request: number): Promise<Message> {
    const message = await this.receive();
    if (message === undefined) {
      throw new VhostUserError(
        'ERR_DISCONNECTED',
        `the back end has closed the connection over ${requestName(request)}`,
      );
    }
    if (!message.reply || message.request !== request) {
      message.fds.closeRest();
      throw new VhostUserError(
        'ERR_PROTOCOL',
        `the back end has answered ${requestName(request)} by ${requestName(message.request)}`,
      );
    }
    return message;
  }

  #inTurn<Result>(operation: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(operation);
    this.#last = result.catch(() => undefined);
    return result;
  }
}
