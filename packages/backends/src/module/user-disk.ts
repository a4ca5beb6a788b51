/**
 * A disk of the user's own, in the style of promises. It runs on the iothread and may do there whatever Node.js can.
 *
 * Offsets and lengths are bytes, multiples of 512, and lie within `size`. A buffer is 1 MiB at most: larger requests
 * come as several calls, one after the other. Calls of different requests overlap. What a method throws, or rejects
 * with, fails that request alone: the guest sees an I/O error, `iothreads:driver-error` the reason.
 *
 * Buffers are never the guest's memory but copies that the disk may keep: what it does to one after its promise has
 * settled harms nobody. That costs a copy for each request; a disk to which that matters is a `BlockDriver`.
 */
export interface UserDisk {
  /** Capacity, bytes: a positive multiple of 512. Asked for once. */
  readonly size: number;
  /** Default false. A disk without `pwrite` is read-only whatever this says. */
  readonly readOnly?: boolean | undefined;
  /** Fills all of `buffer` from byte `offset` of the disk on; it begins as zeroes. */
  pread(buffer: Uint8Array, offset: number): Promise<void> | void;
  /** Writes all of `buffer` to byte `offset` of the disk. */
  pwrite?(buffer: Uint8Array, offset: number): Promise<void> | void;
  /** Makes everything that has been written durable. Without it a flush succeeds at once. */
  flush?(): Promise<void> | void;
  /** The range is not needed any more. Without it the device offers no discard. */
  trim?(offset: number, length: number): Promise<void> | void;
  /** The range is to read as zeroes. Without it zeroes are written by `pwrite`. */
  zero?(offset: number, length: number): Promise<void> | void;
  /** The iothread lets go of the disk; no request is in flight. */
  close?(): Promise<void> | void;
}

/**
 * Makes a disk. Called once for the geometry, on the controlling thread, where the disk is closed again at once; then
 * on an iothread each time that it attaches the device.
 *
 * @param options the drive's `options`, a structured clone
 */
export type CreateDisk = (options: unknown) => UserDisk | Promise<UserDisk>;
