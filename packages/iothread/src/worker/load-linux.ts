import type * as linux from '@iothreads/linux';
import { IOThreadError } from '../iothread-error.js';

/**
 * The system calls, loaded when first needed: the runtime works without them where nobody maps memory or passes eventfds.
 * @throws IOThreadError `ERR_NOT_SUPPORTED` elsewhere than on Linux, or where koffi is not installed
 */
export async function loadLinux(): Promise<typeof linux> {
  try {
    return await import('@iothreads/linux');
  } catch (error) {
    const message = 'eventfds and mapped memory need Linux and the package @iothreads/linux, with koffi';
    throw new IOThreadError('ERR_NOT_SUPPORTED', message, { cause: error });
  }
}
