import { VirtioError } from '@iothreads/core';
import { closeFd } from '@iothreads/linux';
import type { Connection, Message } from './connection.js';
import type { ExportLog } from './export-log.js';
import { encodeU64 } from './protocol/integers.js';
import { FLAG_REPLY } from './protocol/message-header.js';
import { requestName } from './protocol/requests.js';
import type { ReceivedFds } from './received-fds.js';
import { protocolError, VhostUserError } from './vhost-user-error.js';

/** How a request of the front end is dealt with. Its mistakes are thrown. */
export interface RequestHandler {
  /** Protocol feature that must have been negotiated. */
  readonly feature?: number;
  /** How many descriptors come along, at least and at most; none where it is left out. */
  readonly fds?: (payload: Uint8Array) => readonly [number, number];
  /** @returns the payload of the answer, for requests that have one */
  readonly handle: (payload: Uint8Array, fds: ReceivedFds) => Answer | Promise<Answer>;
  /** Payload of the answer to a request that was wrong; without it the connection is closed. */
  readonly refusal?: Uint8Array;
}

/** An answer with a descriptor, which is closed here once it has been sent. */
export interface AnswerWithFd {
  readonly payload: Uint8Array;
  readonly fd: number;
}

type Answer = Uint8Array | AnswerWithFd | undefined | void;

/** What is dealt with, and what was negotiated about it. */
export interface RequestHandlers {
  readonly handlers: ReadonlyMap<number, RequestHandler>;
  hasProtocolFeature(bit: number): boolean;
  /** Whether requests are to be acknowledged that want it. */
  readonly acknowledges: boolean;
}

/**
 * Deals with a connection's messages one after the other, until either side or a mistake puts an end to it. Closing it is the
 * caller's.
 * @returns how many there were
 */
export async function dealWithMessages(
  connection: Connection,
  requests: RequestHandlers,
  log: ExportLog,
): Promise<number> {
  let count = 0;
  try {
    for (;;) {
      const message = await connection.receive();
      if (message === undefined) break;
      // Not before: whoever looks whether somebody listens here connects as well.
      if (count++ === 0) log.info('front end connected');
      try {
        await dealWith(message, connection, requests, log);
      } finally {
        message.fds.closeRest();
      }
    }
  } catch (error) {
    if (isFrontEndsMistake(error)) log.warning(`${error.message}: connection closed`);
    else if (!connection.stopped) log.error(`${(error as Error).message}: connection closed`);
  }
  return count;
}

async function dealWith(
  message: Message,
  connection: Connection,
  requests: RequestHandlers,
  log: ExportLog,
): Promise<void> {
  const { request, payload, fds } = message;
  const handler = requests.handlers.get(request);
  let reply: Uint8Array | AnswerWithFd | undefined;
  let mistake: VhostUserError | undefined;
  try {
    const checked = check(message, handler, requests);
    reply = (await checked.handle(payload, fds)) ?? undefined;
  } catch (error) {
    if (!isFrontEndsMistake(error)) throw error;
    mistake = new VhostUserError(error.code, `${requestName(request)}: ${error.message}`);
    reply = handler?.refusal;
  }
  if (reply === undefined && message.needReply && requests.acknowledges) {
    reply = encodeU64(mistake === undefined ? 0 : 1);
  }
  if (mistake !== undefined) {
    if (reply === undefined) throw mistake;
    log.warning(mistake.message);
  }
  if (reply === undefined) return;
  if (reply instanceof Uint8Array) {
    connection.send(request, FLAG_REPLY, reply);
    return;
  }
  try {
    connection.send(request, FLAG_REPLY, reply.payload, [reply.fd]);
  } finally {
    closeFd(reply.fd);
  }
}

function check(
  { reply, payload, fds }: Message,
  handler: RequestHandler | undefined,
  requests: RequestHandlers,
): RequestHandler {
  if (handler === undefined) throw protocolError('is unknown');
  if (reply) throw protocolError('is marked as an answer, and nothing was asked');
  if (handler.feature !== undefined && !requests.hasProtocolFeature(handler.feature)) {
    throw protocolError(`needs protocol feature ${handler.feature}, which was not negotiated`);
  }
  const [least, most] = handler.fds?.(payload) ?? [0, 0];
  if (fds.overflowed || fds.count < least || fds.count > most) {
    const many = `${fds.overflowed ? 'more than ' : ''}${fds.count}`;
    throw protocolError(`${many} descriptors came along instead of ${most}`);
  }
  return handler;
}

/** The device refuses rings by errors of its own class. */
const isFrontEndsMistake = (error: unknown): error is VhostUserError | VirtioError =>
  error instanceof VhostUserError || error instanceof VirtioError;
