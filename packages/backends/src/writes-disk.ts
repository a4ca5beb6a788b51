import { BlockOperation } from '@iothreads/core';

/**
 * Whether an operation changes the disk. Devices ask no such thing of a read-only disk; drivers look all the same,
 * because the disk's contents are not worth betting on that.
 */
export function writesDisk(operation: BlockOperation): boolean {
  return (
    operation === BlockOperation.WRITE ||
    operation === BlockOperation.DISCARD ||
    operation === BlockOperation.WRITE_ZEROES
  );
}
