/** Stable codes of the mistakes that `@iothreads/v86` refuses with an exception. */
export type V86ErrorCode = 'ERR_EMULATOR' | 'ERR_SLOT' | 'ERR_SNAPSHOT';

/** A mistake of the embedder's. Guests' mistakes never become exceptions. */
export class V86Error extends Error {
  override readonly name = 'V86Error';
  readonly code: V86ErrorCode;

  constructor(code: V86ErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}
