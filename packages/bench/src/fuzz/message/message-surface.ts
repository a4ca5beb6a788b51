import { encodeMessage, FrontEndRequests, Request, VhostUserFrontEnd } from '@iothreads/vhost-user/front-end';
import { VhostUserError } from '@iothreads/vhost-user';
import type { Random } from '../../stress/random.js';
import type { FuzzSurface } from '../surface.js';
import { within } from '../within.js';
import { FrontEndFiles } from './front-end-files.js';
import { makeMessageCase, type MessageCase, type MessageStep, QUEUES } from './message-case.js';
import { type MessageHost, startDaemon, startExport } from './message-host.js';
import { whyWrong } from './message-rules.js';

const EMPTY = new Uint8Array();
const NEED_REPLY = 8;
/** No more is sent at once. */
const PIECE_BYTES = 4096;
/** Bytes more than at the beginning that the host's process may have come to hold. */
const MOST_GROWTH_BYTES = 256 << 20;

/**
 * vhost-user messages to an export: what is wrong is refused, the next front end is served, and nothing is kept of what the last one
 * has sent.
 */
export class MessageSurface implements FuzzSurface<MessageCase> {
  readonly make: (random: Random) => MessageCase = makeMessageCase;
  readonly #host: MessageHost;
  readonly #files = new FrontEndFiles();
  #atRest: ReturnType<MessageHost['holdings']> | undefined;
  #residentBytes = 0;

  private constructor(host: MessageHost) {
    this.#host = host;
  }

  /** To an export in this process. */
  static async create(): Promise<MessageSurface> {
    return MessageSurface.#start(await startExport());
  }

  /** To the storage daemon, as it is installed. */
  static async createForDaemon(): Promise<MessageSurface> {
    return MessageSurface.#start(await startDaemon());
  }

  static async #start(host: MessageHost): Promise<MessageSurface> {
    const surface = new MessageSurface(host);
    // Whatever is opened once and kept is open after this.
    await surface.settle();
    await surface.#expectNext();
    surface.#residentBytes = host.residentBytes();
    return surface;
  }

  async play({ steps }: MessageCase): Promise<number> {
    this.#files.renew();
    const requests = FrontEndRequests.connect(this.#host.path);
    let consumed = 0;
    try {
      for (const step of steps) {
        consumed++;
        if (!(await this.#send(requests, step))) break;
      }
    } finally {
      requests.close();
    }
    await this.#expectNext();
    const [error] = this.#host.errors();
    if (error !== undefined) throw new Error(`the log tells of an error: ${error}`);
    return consumed;
  }

  /** @returns whether the connection goes on */
  async #send(requests: FrontEndRequests, step: MessageStep): Promise<boolean> {
    const { request, payload, fds, size, sent, kick } = step;
    if (kick === true) this.#files.kick();
    const message = encodeMessage(request, 0, Buffer.from(payload, 'hex'));
    const header = new DataView(message.buffer);
    header.setUint32(4, step.flags, true);
    if (size !== undefined) header.setUint32(8, size, true);
    const along = fds.map((kind) => this.#files.fd(kind));
    if (size !== undefined || sent !== undefined) {
      sendAll(requests, message.subarray(0, sent), along);
      return false;
    }
    // Behind it comes a question that is always answered, so that it is known when the message has been dealt with.
    const question = request === Request.GET_FEATURES ? Request.GET_PROTOCOL_FEATURES : Request.GET_FEATURES;
    if (!sendAll(requests, message, along) || !sendAll(requests, encodeMessage(question, 0, EMPTY), []))
      return false;
    const wrong = whyWrong(step, QUEUES);
    for (let answers = 0; ; answers++) {
      const answer = await requests.receive();
      if (answer === undefined) return false;
      answer.fds.closeRest();
      const told = `${JSON.stringify(step)} is answered`;
      if (!answer.reply) throw new Error(`${told} by what is no answer`);
      if (answer.request === question) {
        if (answers === 0 && wrong !== undefined) throw new Error(`${told} by nothing, though ${wrong}`);
        return true;
      }
      if (answers > 0 || answer.request !== request)
        throw new Error(`${told} by ${answer.request}, twice or out of turn`);
      if (wrong !== undefined && !isRefusal(step, answer.payload))
        throw new Error(`${told} well, though ${wrong}`);
    }
  }

  /** The next front end has its turn, and when it has, nothing is left of the one before. */
  async #expectNext(): Promise<void> {
    const requests = FrontEndRequests.connect(this.#host.path);
    try {
      await requests.ask(Request.GET_FEATURES);
      const { fds, mappings } = this.#host.holdings();
      this.#atRest ??= { fds, mappings };
      if (fds !== this.#atRest.fds) throw new Error(`${fds} descriptors are open, not ${this.#atRest.fds}`);
      if (mappings !== this.#atRest.mappings) {
        throw new Error(`${mappings} mappings of guest memory are left, not ${this.#atRest.mappings}`);
      }
    } finally {
      requests.close();
    }
  }

  /** A front end that does everything right is served, and memory is not collected. */
  async settle(): Promise<void> {
    const frontEnd = await VhostUserFrontEnd.connect(this.#host.path, {
      memoryBytes: 1 << 20,
      dataBytes: 4096,
    });
    try {
      const written = Uint8Array.from({ length: 4096 }, (_, i) => i * 31);
      const queue = frontEnd.queues[0]!;
      await within(queue.write(8, written), 'a write');
      const read = await within(queue.read(8, 4096), 'a read');
      if (Buffer.compare(read, written) !== 0)
        throw new Error('a good front end reads what it has not written');
    } finally {
      await frontEnd.close();
    }
    const growth = this.#host.residentBytes() - this.#residentBytes;
    if (this.#atRest !== undefined && growth > MOST_GROWTH_BYTES) throw new Error(`grown by ${growth} bytes`);
  }

  async close(): Promise<void> {
    await this.#host.close();
    this.#files.close();
  }
}

/** @returns false when the other side has closed the connection already */
function sendAll(requests: FrontEndRequests, bytes: Uint8Array, fds: readonly number[]): boolean {
  try {
    for (let at = 0; at < bytes.length; at += PIECE_BYTES) {
      requests.sendBytes(bytes.subarray(at, at + PIECE_BYTES), at === 0 ? fds : []);
    }
    return true;
  } catch (error) {
    if (error instanceof VhostUserError && error.code === 'ERR_DISCONNECTED') return false;
    throw error;
  }
}

/** GET_CONFIG is refused by an empty answer, all that can be acknowledged by a number that is not 0. */
function isRefusal({ request, flags }: MessageStep, payload: Uint8Array): boolean {
  if (request === Request.GET_CONFIG) return payload.length === 0;
  return (flags & NEED_REPLY) !== 0 && payload.length === 8 && payload[0] !== 0;
}
