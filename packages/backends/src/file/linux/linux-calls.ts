import {
  IoVector,
  MAX_IO_VECTORS,
  punchHole,
  readAt,
  readVectorAt,
  syncData,
  writeAt,
  writeVectorAt,
  zeroRange,
} from '@iothreads/linux';
import { AllocateMode, FileCall, type CallSequence } from '../call-sequence.js';
import { hostAddress } from './host-address.js';

/** For calls that are waited for: one at a time. */
const vector = new IoVector(MAX_IO_VECTORS);

/** Where the memory of a READ or WRITE begins that is not vectored. */
export function addressOfCall({ flat, flatOffset, cursor }: CallSequence): number {
  return flat === undefined ? hostAddress(cursor.region) + cursor.offset : flat.address + flatOffset;
}

/**
 * Makes a sequence's call and waits for it.
 * @returns bytes that it moved
 * @throws LinuxError
 */
export function callLinux(sequence: CallSequence): number {
  const { fd, position, byteLength } = sequence;
  switch (sequence.call) {
    case FileCall.READ:
      return sequence.vectored
        ? readVectorAt(fd, vector.addressAt(0), fillVector(sequence), position)
        : readAt(fd, addressOfCall(sequence), byteLength, position);
    case FileCall.WRITE:
      return sequence.vectored
        ? writeVectorAt(fd, vector.addressAt(0), fillVector(sequence), position)
        : writeAt(fd, addressOfCall(sequence), byteLength, position);
    case FileCall.SYNC:
      syncData(fd);
      return 0;
    default:
      if (sequence.mode === AllocateMode.PUNCH_HOLE) punchHole(fd, position, byteLength);
      else zeroRange(fd, position, byteLength);
      return 0;
  }
}

function fillVector({ cursor }: CallSequence): number {
  vector.clear();
  return cursor.pushTo(vector, hostAddress, MAX_IO_VECTORS);
}
