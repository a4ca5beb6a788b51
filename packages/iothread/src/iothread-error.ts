/** Stable codes of what `@iothreads/iothread` refuses or reports. */
export type IOThreadErrorCode =
  /** A mistake in a configuration; the message names the field. */
  | 'ERR_CONFIG'
  | 'ERR_DUPLICATE_ID'
  | 'ERR_UNKNOWN_IOTHREAD'
  | 'ERR_UNKNOWN_DEVICE'
  | 'ERR_UNKNOWN_DRIVE'
  /** The iothread still has devices. */
  | 'ERR_IOTHREAD_IN_USE'
  /** The worker behind an iothread is gone; its devices need a reset. */
  | 'ERR_IOTHREAD_DIED'
  /** Requests were still in flight when the time to drain was over. */
  | 'ERR_DRAIN_TIMEOUT'
  | 'ERR_RUNTIME_CLOSED'
  /** Its disk failed a request, and it waits for `continueDevice`: that has to come first. */
  | 'ERR_DEVICE_PAUSED'
  /** The state of a device can be saved while it is quiesced, not before. */
  | 'ERR_NOT_QUIESCED'
  /** A saved state is none, or does not fit the device that it is to be restored into. */
  | 'ERR_STATE'
  /** A ring can't be trusted any more; it is not served until it is started anew. */
  | 'ERR_RING_BROKEN'
  /** Only Linux has what is asked for, or a package is missing. */
  | 'ERR_NOT_SUPPORTED';

/** An error of the runtime's control plane. */
export class IOThreadError extends Error {
  override readonly name = 'IOThreadError';
  readonly code: IOThreadErrorCode;

  constructor(code: IOThreadErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
