/**
 * Guest RAM that belongs to the emulator's thread alone: an iothread can't reach it, requests are copied through slots of shared
 * memory. `WebAssembly.Memory` that is not shared is of this kind.
 */
export interface BouncedMemory {
  /**
   * The buffer that holds guest RAM at this moment. Asked before each use, since memory that grows moves: `() => memory.buffer`.
   * It must not shrink.
   */
  readonly buffer: () => ArrayBuffer | SharedArrayBuffer;
  /** Where in the buffer guest RAM is; default: all of it, from guest address 0 on. */
  readonly regions?: readonly BouncedRegion[];
  /** Called for each range of guest RAM that the device has written: a JIT may hold code that was made from it. */
  readonly markDirty?: (guestAddress: number, byteLength: number) => void;
  /** Requests of a queue that can be on their way at a time; a power of two from 1 to 256, default 32. Others wait in the ring. */
  readonly slots?: number;
  /** Bytes of data that a request can carry, a power of two from 4096 to 2^24; default 512 KiB. Drivers are told by size_max and seg_max. */
  readonly slotBytes?: number;
}

/** A run of guest RAM in the buffer. */
export interface BouncedRegion {
  /** Guest-physical address of the first byte, a multiple of 8. */
  readonly guestAddress: number;
  /** Where it is in the buffer, a multiple of 8. */
  readonly byteOffset: number;
  /** Bytes. */
  readonly size: number;
}
