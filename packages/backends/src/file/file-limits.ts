import type { FlatMemory } from './image-file.js';

/** Entries that one readv(2) or writev(2) takes (IOV_MAX on Linux and macOS). */
export const MAX_VECTORS = 1024;

/** Bytes that one call moves: Node.js takes a 32-bit signed length; Linux stops 4 KiB short of 2 GiB anyway. */
export const MAX_CALL_BYTES = 1024 ** 3;

/** Bytes of one write of zeroes. */
export const ZERO_CHUNK_BYTES = 1024 ** 2;

/** Bytes that go through memory of ours at a time, where the guest's can't be used directly. */
export const MAX_BOUNCE_BYTES = 1024 ** 2;

let zeroes: FlatMemory | undefined;

/** `ZERO_CHUNK_BYTES` of zeroes, one buffer for all files of the thread; to be read only. */
export function zeroChunk(): FlatMemory {
  return (zeroes ??= { bytes: new Uint8Array(ZERO_CHUNK_BYTES), address: NaN });
}
