import { NativeBuffer } from '@iothreads/linux';
import { ZERO_CHUNK_BYTES } from '../file-limits.js';
import type { FlatMemory } from '../image-file.js';

/** A page; no disk wants more. */
export const MEMORY_ALIGNMENT = 4096;

/** Memory that begins on a page, as direct I/O wants it. */
export class AlignedMemory implements FlatMemory {
  readonly bytes: Uint8Array;
  readonly address: number;

  constructor(byteLength: number) {
    const { buffer, address } = new NativeBuffer(byteLength + MEMORY_ALIGNMENT);
    const offset = (MEMORY_ALIGNMENT - (address % MEMORY_ALIGNMENT)) % MEMORY_ALIGNMENT;
    this.bytes = new Uint8Array(buffer, offset, byteLength);
    this.address = address + offset;
  }
}

let zeroes: AlignedMemory | undefined;

/** `ZERO_CHUNK_BYTES` of zeroes, for all files of the thread; to be read only. */
export const alignedZeroes = (): AlignedMemory => (zeroes ??= new AlignedMemory(ZERO_CHUNK_BYTES));
