import { closeFd, LinuxError, ReadableWatch, UnixMessenger } from '@iothreads/linux';
import { setImmediate } from 'node:timers/promises';
import { MAX_TABLE_REGIONS } from './protocol/memory-payloads.js';
import {
  decodeHeader,
  encodeMessage,
  HEADER_BYTES,
  MAX_PAYLOAD_BYTES,
  type MessageHeader,
} from './protocol/message-header.js';
import { ReceivedFds } from './received-fds.js';
import { VhostUserError } from './vhost-user-error.js';

/** A message with the descriptors that came along: whoever receives it takes or closes them. */
export interface Message extends MessageHeader {
  readonly payload: Uint8Array;
  readonly fds: ReceivedFds;
}

/** Messages received in a row before others on this thread have their turn. */
export const TURN = 16;

/** One connection's stream of messages, either side's. Nothing is read beyond the message that was asked for. */
export class Connection {
  readonly #messenger: UnixMessenger;
  readonly #maxFds: number;
  #inARow = 0;
  #stopped = false;
  #closed = false;
  /** Ends the wait for something to read. */
  #wake: (() => void) | undefined;

  /**
   * @param fd a connected, non-blocking Unix socket, which the connection owns from now on
   * @param maxFds descriptors of one message: a table of regions has the most
   */
  constructor(fd: number, maxFds: number = MAX_TABLE_REGIONS) {
    this.#maxFds = maxFds;
    this.#messenger = new UnixMessenger(fd, HEADER_BYTES + MAX_PAYLOAD_BYTES, maxFds);
  }

  /** Whether this side has closed it. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Nothing is received any more. */
  get stopped(): boolean {
    return this.#stopped;
  }

  /**
   * The next message. One at a time may be waited for.
   * @returns undefined when the other side has closed the connection, or this one has stopped
   * @throws VhostUserError `ERR_FRAMING` when what comes is no message, or ends within one
   */
  async receive(): Promise<Message | undefined> {
    if (++this.#inARow >= TURN) {
      this.#inARow = 0;
      await setImmediate();
    }
    const fds = new ReceivedFds(this.#maxFds);
    let message: Message | undefined;
    try {
      const head = new Uint8Array(HEADER_BYTES);
      const got = await this.#fill(head, fds);
      if (got === 0) return undefined;
      if (got < HEADER_BYTES) return this.#cutOff();
      const header = decodeHeader(head);
      // Descriptors arrive with the first byte that is read of what they were sent with: by now, or with the payload where
      // the sender has split the message.
      const payload = new Uint8Array(header.payloadBytes);
      if ((await this.#fill(payload, fds)) < payload.length) return this.#cutOff();
      message = { ...header, payload, fds };
      return message;
    } finally {
      if (message === undefined) fds.closeRest();
    }
  }

  #cutOff(): undefined {
    if (this.#stopped) return undefined;
    throw new VhostUserError('ERR_FRAMING', 'connection ended within a message');
  }

  /** @returns how many bytes there were before the end of the stream */
  async #fill(target: Uint8Array, fds: ReceivedFds): Promise<number> {
    let filled = 0;
    // Bounded by the target: every turn fills a part of it, or sleeps.
    while (filled < target.length && !this.#stopped) {
      const received = this.#receive(target.length - filled);
      if (received.truncated) fds.overflowed = true;
      fds.add(received.fds);
      if (received.byteLength === 0) break;
      if (received.byteLength === -1) {
        await this.#readable();
        continue;
      }
      target.set(this.#messenger.bytes.subarray(0, received.byteLength), filled);
      filled += received.byteLength;
    }
    return filled;
  }

  #receive(most: number): ReturnType<UnixMessenger['receive']> {
    try {
      return this.#messenger.receive(most);
    } catch (error) {
      // It left without reading its answers: gone all the same.
      if (!(error instanceof LinuxError) || error.code !== 'ECONNRESET') throw error;
      return { byteLength: 0, fds: [], truncated: false };
    }
  }

  async #readable(): Promise<void> {
    this.#inARow = 0;
    // The watch lives for one wait only: while a message is worked on it would call again and again.
    await new Promise<void>((resolve) => {
      const watch = new ReadableWatch(this.#messenger.fd, () => this.#wake?.());
      this.#wake = () => {
        this.#wake = undefined;
        watch.close();
        resolve();
      };
    });
  }

  /**
   * Sends a message; descriptors stay the caller's.
   * @param flags besides the version
   * @throws VhostUserError `ERR_DISCONNECTED` when the other side is gone or does not read what it is sent
   */
  send(request: number, flags: number, payload: Uint8Array, fds: readonly number[] = []): void {
    this.sendBytes(encodeMessage(request, flags, payload), fds);
  }

  /** Sends bytes that may be no message at all. */
  sendBytes(bytes: Uint8Array, fds: readonly number[] = []): void {
    if (this.#closed) throw new VhostUserError('ERR_DISCONNECTED', 'the connection is closed');
    let sent: number;
    try {
      sent = this.#messenger.send(bytes, fds);
    } catch (error) {
      if (!(error instanceof LinuxError)) throw error;
      throw new VhostUserError('ERR_DISCONNECTED', `the other side is gone (${error.message})`);
    }
    // Messages are small and mostly answered one by one: whoever lets them fill a socket does not read.
    if (sent < bytes.length) throw new VhostUserError('ERR_DISCONNECTED', 'the other side does not read');
  }

  /** A wait for a message ends; the other side notices nothing yet. */
  stop(): void {
    this.#stopped = true;
    this.#wake?.();
  }

  /** Ends the connection; the other side notices. A wait for a message ends as well. */
  close(): void {
    if (this.#closed) return;
    this.stop();
    this.#closed = true;
    closeFd(this.#messenger.fd);
  }
}
