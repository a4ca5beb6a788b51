/** Stable codes of this package; errors of the system keep their errno name (`EACCES`, `ENOENT`, …). */
export type VhostUserErrorCode =
  /** A live server listens at the path already. */
  | 'ERR_SOCKET_IN_USE'
  /** The path of a socket is empty or too long. */
  | 'ERR_SOCKET_PATH'
  /** What is at the path, or behind the descriptor, is no listening socket. */
  | 'ERR_NOT_A_SOCKET'
  /** The other side broke the rules of the protocol in one message; the stream of messages is still sound. */
  | 'ERR_PROTOCOL'
  /** What came can't be told into messages: nothing after it means anything. */
  | 'ERR_FRAMING'
  /** The other side has closed the connection. */
  | 'ERR_DISCONNECTED'
  /** The back end has refused a front end's message, or lacks what is asked of it. */
  | 'ERR_REFUSED'
  /** The disk has failed a front end's request. */
  | 'ERR_REQUEST_FAILED'
  /** A front end waited too long for an answer. */
  | 'ERR_TIMEOUT';

/** A mistake in a socket's address, or the other side's mistake. The message names the thing that is wrong and what to do. */
export class VhostUserError extends Error {
  override readonly name = 'VhostUserError';
  readonly code: string;

  constructor(code: VhostUserErrorCode | (string & {}), message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}

/** The other side's mistake in one message. */
export const protocolError = (message: string): VhostUserError => new VhostUserError('ERR_PROTOCOL', message);
