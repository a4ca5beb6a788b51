import { LinuxError } from '@iothreads/linux';
import { BlockDriverError, type BlockDriver, type BlockDriverContext } from '../../block-driver.js';
import type { PreparedDrive } from '../../block-driver-type.js';
import type { FileDriverState } from '../image-file.js';
import { LinuxFileDriver } from './linux-file-driver.js';
import { UringFileDriver } from './uring-file-driver.js';

/** @throws BlockDriverError with the errno name as its code when this thread gets no io_uring any more */
export function openLinuxFile(
  prepared: PreparedDrive<FileDriverState>,
  context: BlockDriverContext,
): BlockDriver {
  const { access, filename } = prepared.state;
  if (access !== 'io_uring') return new LinuxFileDriver(prepared);
  try {
    return new UringFileDriver(prepared, context);
  } catch (error) {
    if (!(error instanceof LinuxError)) throw error;
    throw new BlockDriverError(
      error.code,
      `${filename}: its iothread gets no io_uring (${error.message}); say aio=threads`,
      { cause: error },
    );
  }
}
