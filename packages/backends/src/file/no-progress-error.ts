import { BlockOperation } from '@iothreads/core';
import { BlockDriverError } from '../block-driver.js';

/** What a call that moved no byte at all means: the disk ends before its capacity, since somebody shortened the file. */
export function noProgressError(
  filename: string,
  operation: BlockOperation,
  position: number,
): BlockDriverError {
  return operation === BlockOperation.READ
    ? new BlockDriverError(
        'ERR_DRIVE_SIZE',
        `${filename}: has been shortened: no byte at ${position} any more`,
      )
    : new BlockDriverError('EIO', `${filename}: nothing could be written at byte ${position}`);
}
