/** Stable codes of the mistakes that `@iothreads/core` refuses with an exception. */
export type VirtioErrorCode =
  | 'ERR_MEMORY_REGION'
  | 'ERR_ADDRESS_OUT_OF_MEMORY'
  | 'ERR_QUEUE_SIZE'
  | 'ERR_QUEUE_ADDRESS'
  | 'ERR_INFLIGHT'
  | 'ERR_FEATURES'
  | 'ERR_DEVICE_STATUS'
  | 'ERR_DEVICE_OPTION'
  | 'ERR_STATE'
  | 'ERR_DRIVER';

/**
 * A mistake of the embedder or of a driver's set-up. Guests' mistakes on the data path never become exceptions: they
 * become a status byte or a broken queue.
 */
export class VirtioError extends Error {
  override readonly name = 'VirtioError';
  readonly code: VirtioErrorCode;

  constructor(code: VirtioErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
