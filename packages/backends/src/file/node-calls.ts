import { fdatasyncSync, readSync, readvSync, writeSync, writevSync } from 'node:fs';
import { FileCall, type CallSequence } from './call-sequence.js';
import { MAX_VECTORS } from './file-limits.js';

/**
 * Makes a sequence's call, but for ALLOCATE, by Node.js's own functions, and waits for it.
 * @returns bytes that it moved
 * @throws an error with the errno name as its `code`
 */
export function callNode(sequence: CallSequence): number {
  const { fd, flat, cursor, position, byteLength } = sequence;
  switch (sequence.call) {
    case FileCall.READ:
      if (flat !== undefined) return readSync(fd, flat.bytes, sequence.flatOffset, byteLength, position);
      if (sequence.vectored) return readvSync(fd, cursor.views(MAX_VECTORS), position);
      return readSync(fd, cursor.bytes, cursor.offset, byteLength, position);
    case FileCall.WRITE:
      if (flat !== undefined) return writeSync(fd, flat.bytes, sequence.flatOffset, byteLength, position);
      if (sequence.vectored) return writevSync(fd, cursor.views(MAX_VECTORS), position);
      return writeSync(fd, cursor.bytes, cursor.offset, byteLength, position);
    default:
      fdatasyncSync(fd);
      return 0;
  }
}
