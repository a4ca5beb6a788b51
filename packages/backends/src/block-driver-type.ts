import type { BlockDriver, BlockDriverContext, BlockGeometry } from './block-driver.js';

/**
 * A kind of disk: how its options are checked, what is set up once for it, and how an iothread opens it.
 *
 * `Options` is what a user writes beside `driver: '<name>'`; `Prepared` is what goes to the iothreads: it must survive
 * structured cloning, and carries everything that must stay the same when the disk moves (a memory disk's
 * SharedArrayBuffer, a file's absolute name).
 */
export interface BlockDriverType<Options = unknown, Prepared = unknown> {
  /** The word after `driver:`. */
  readonly name: string;
  /** Checks the options. @throws BlockDriverError naming the field, prefixed by `path` (`drive.size`). */
  parse(options: unknown, path: string): Options;
  /**
   * Once for each device, on the controlling thread: finds the geometry and makes what all iothreads share.
   * @param readOnly the device is to be read-only whatever the disk allows
   * @throws BlockDriverError when the disk can't be used; the message names the file or the field
   */
  prepare(options: Options, readOnly: boolean): Promise<PreparedDrive<Prepared>>;
  /** On an iothread, each time that it attaches the device. */
  open(prepared: PreparedDrive<Prepared>, context: BlockDriverContext): Promise<BlockDriver>;
}

export interface PreparedDrive<Prepared = unknown> {
  readonly driver: string;
  readonly geometry: BlockGeometry;
  readonly state: Prepared;
}
