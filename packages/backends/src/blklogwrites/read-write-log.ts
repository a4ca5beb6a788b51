import { closeSync, fstatSync, openSync, readSync } from 'node:fs';
import { BlockDriverError } from '../block-driver.js';
import { decodeHeader, isSuperblock, LOG_DISCARD, LOG_FLUSH, LOG_SECTOR } from './log-format.js';

/** A request that was complete. Zeroes that were written are data like any other. */
export interface WriteLogEntry {
  readonly kind: 'write' | 'discard' | 'flush';
  /** Where it stands in the log, in sectors: of two entries, the one that was complete first has the lower place. */
  readonly at: number;
  /**
   * How long the log was when the request reached the disk. Entries before that were complete by then: those a flush makes durable, and
   * no others. The request was in flight from there to `at`.
   */
  readonly reached: number;
  /** First sector on the disk; of a flush 0. */
  readonly sector: number;
  readonly sectors: number;
  /** Of a write: what was written. */
  readonly data: Uint8Array | undefined;
}

/**
 * Reads a log that `blklogwrites` has written, whether it has been closed or its process was killed.
 * @throws BlockDriverError `ERR_DRIVE_OPTION` when it is none
 */
export function* readWriteLog(filename: string): Generator<WriteLogEntry> {
  const fd = openSync(filename, 'r');
  try {
    const sectors = Math.ceil(fstatSync(fd).size / LOG_SECTOR);
    const read = (at: number, count: number): Uint8Array => {
      // What is behind the end of the file are zeroes that were written last.
      const bytes = new Uint8Array(count * LOG_SECTOR);
      readSync(fd, bytes, 0, bytes.length, at * LOG_SECTOR);
      return bytes;
    };
    if (!isSuperblock(read(0, 1))) {
      throw new BlockDriverError('ERR_DRIVE_OPTION', `${filename}: is no log of writes`);
    }
    for (let at = 1; at < sectors;) {
      const { sector, sectors: length, flags, reached } = decodeHeader(read(at, 1));
      const kind = (flags & LOG_FLUSH) !== 0n ? 'flush' : (flags & LOG_DISCARD) !== 0n ? 'discard' : 'write';
      const data = kind === 'write' ? length : 0;
      // A place that was taken by one who died before the entry was written.
      if (kind !== 'write' || length > 0) {
        yield { kind, at, reached, sector, sectors: length, data: data > 0 ? read(at + 1, data) : undefined };
      }
      at += 1 + data;
    }
  } finally {
    closeSync(fd);
  }
}
