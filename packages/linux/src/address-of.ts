import { libc } from './libc.js';

/** Returns its first argument; with 0 bytes to move it does nothing else. */
const memmove = libc.func('uintptr_t memmove(const void *to, const void *from, size_t byteLength)') as (
  to: Uint8Array,
  from: Uint8Array,
  byteLength: number,
) => number;

/**
 * Where in memory the bytes of a buffer begin.
 *
 * Safe as long as the caller keeps the buffer referenced: backing stores of ArrayBuffers never move, and are freed when
 * the last buffer over them is collected. Not for typed arrays made by their length alone: small ones live inside the
 * garbage collector's heap, which does move.
 */
export function addressOf(buffer: ArrayBuffer | SharedArrayBuffer): number {
  const bytes = new Uint8Array(buffer);
  // 0 bytes are read and written: safe whatever the pointer is. koffi passes the address of the view's first byte.
  return memmove(bytes, bytes, 0);
}

/** Memory for the arguments of calls: a buffer and where it is. Lives as long as somebody refers to the object. */
export class NativeBuffer {
  readonly buffer: ArrayBuffer;
  readonly bytes: Uint8Array;
  readonly view: DataView;
  readonly address: number;

  constructor(byteLength: number) {
    this.buffer = new ArrayBuffer(byteLength);
    this.bytes = new Uint8Array(this.buffer);
    this.view = new DataView(this.buffer);
    this.address = addressOf(this.buffer);
  }
}
