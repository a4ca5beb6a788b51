import type { BlockDriver, BlockDriverContext, BlockGeometry } from './block-driver.js';

/**
 * A kind of disk: how its options are checked, what is set up once for it, and how an iothread opens it.
 *
 * `Options` is what a user writes beside `driver: '<name>'`; `Prepared` is what goes to the iothreads: it must survive
 * structured cloning, and carries everything that must stay the same when the disk moves (a memory disk's
 * SharedArrayBuffer, a file's descriptor).
 */
export interface BlockDriverType<Options = unknown, Prepared = unknown> {
  /** The word after `driver:`. */
  readonly name: string;
  /** Checks the options. @throws BlockDriverError naming the field, prefixed by `path` (`drive.size`). */
  parse(options: unknown, path: string): Options;
  /**
   * On the controlling thread, for as long as the drive is in use: opens it, finds the geometry and makes what all
   * iothreads share.
   * @param readOnly the device is to be read-only whatever the disk allows
   * @throws BlockDriverError when the disk can't be used; the message names the file or the field
   */
  hold(options: Options, readOnly: boolean): Promise<HeldDrive<Prepared>>;
  /** On an iothread, each time that it attaches the device. */
  open(prepared: PreparedDrive<Prepared>, context: BlockDriverContext): Promise<BlockDriver>;
}

/** A drive that is held, as it goes to the iothreads. Good for as long as it is held. */
export interface PreparedDrive<Prepared = unknown> {
  readonly driver: string;
  readonly geometry: BlockGeometry;
  /** Where the disk begins in what the driver opens, bytes, a multiple of 512: 0 but for a window onto another disk. */
  readonly offset: number;
  readonly state: Prepared;
}

/** A drive in use: checked, open and, where that is asked for, locked. */
export interface HeldDrive<Prepared = unknown> {
  /** What iothreads open; another one after `resize`. */
  readonly prepared: PreparedDrive<Prepared>;
  /** What the operator should hear once, one line each: what was asked for and is done in another way. */
  readonly notices: readonly string[];
  /**
   * Gives the disk another size.
   * @param sizeBytes a positive multiple of 512
   * @returns `prepared` from now on
   * @throws BlockDriverError `ERR_DRIVE_SIZE` when it can't have that size, `ENOTSUP` when it has its size for good, or the
   * errno name of a system error
   */
  resize(sizeBytes: number): Promise<PreparedDrive<Prepared>>;
  /** Gives everything back. No iothread has the disk open any more. */
  close(): Promise<void>;
}
