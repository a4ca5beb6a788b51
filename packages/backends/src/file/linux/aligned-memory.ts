import { NativeBuffer } from '@iothreads/linux';
import { BlockDriverError } from '../../block-driver.js';
import { ZERO_CHUNK_BYTES } from '../file-limits.js';
import type { FlatMemory } from '../image-file.js';

/** A page; no disk wants more. */
export const MEMORY_ALIGNMENT = 4096;

/** Memory that begins on a page, as direct I/O wants it. */
export class AlignedMemory implements FlatMemory {
  readonly bytes: Uint8Array;
  readonly address: number;

  /** @throws BlockDriverError `ENOMEM` */
  constructor(byteLength: number) {
    const { buffer, address } = allocate(byteLength + MEMORY_ALIGNMENT);
    const offset = (MEMORY_ALIGNMENT - (address % MEMORY_ALIGNMENT)) % MEMORY_ALIGNMENT;
    this.bytes = new Uint8Array(buffer, offset, byteLength);
    this.address = address + offset;
  }
}

function allocate(byteLength: number): NativeBuffer {
  try {
    return new NativeBuffer(byteLength);
  } catch (error) {
    throw new BlockDriverError('ENOMEM', `no memory for ${byteLength} bytes to go through`, { cause: error });
  }
}

let zeroes: AlignedMemory | undefined;

/** `ZERO_CHUNK_BYTES` of zeroes, for all files of the thread; to be read only. */
export const alignedZeroes = (): AlignedMemory => (zeroes ??= new AlignedMemory(ZERO_CHUNK_BYTES));
