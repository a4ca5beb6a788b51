import { closeSync, openSync, readSync, writeSync } from 'node:fs';
import { resolve } from 'node:path';
import { BlockDriverError } from '../block-driver.js';
import { encodeSuperblock, isSuperblock, LOG_SECTOR } from './log-format.js';

/** What an iothread needs to write to a log. */
export interface WriteLogState {
  readonly fd: number;
  /** `LogCounter`: what all who write to the log have taken of it. */
  readonly counters: SharedArrayBuffer;
}

/** Indexes of the counters, 64 bits each. */
export const LogCounter = {
  /** Where the next entry goes, sectors. */
  LENGTH: 0,
  ENTRIES: 1,
} as const;

/**
 * The log of `blklogwrites` drives, in a file: for those who look at it while the disk is in use, or have several drives write to
 * one. On the thread that made it; to be closed when no drive uses it any more.
 */
export class WriteLog {
  readonly filename: string;
  /** What iothreads share. @internal */
  readonly state: WriteLogState;
  readonly #counters: BigInt64Array;
  #closed = false;

  /**
   * Begins a log. A file that is there must be a log, or empty: it is overwritten.
   * @throws BlockDriverError with the errno name, or `ERR_DRIVE_OPTION` when the file is something else
   */
  constructor(filename: string) {
    // Absolute: the working directory may be another one by the time that somebody reads a message.
    this.filename = resolve(filename);
    const fd = openLog(this.filename);
    this.state = { fd, counters: new SharedArrayBuffer(2 * 8) };
    this.#counters = new BigInt64Array(this.state.counters);
    this.#counters[LogCounter.LENGTH] = 1n;
  }

  /**
   * How long the log is, in sectors of 512 bytes. What a guest has seen complete is in the log by then; what comes to the disk from
   * now on has this, or more, as its `reached`.
   */
  get length(): number {
    return Number(Atomics.load(this.#counters, LogCounter.LENGTH));
  }

  /** Tells in the file how many entries it has, and closes it. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      const superblock = encodeSuperblock(Atomics.load(this.#counters, LogCounter.ENTRIES));
      writeSync(this.state.fd, superblock, 0, LOG_SECTOR, 0);
    } catch (error) {
      throw logError(this.filename, error);
    } finally {
      closeSync(this.state.fd);
    }
  }
}

function openLog(filename: string): number {
  try {
    // Not truncated before it is known what it is: a slip of the hand may have named an image.
    const fd = openSync(filename, 'a+');
    const head = new Uint8Array(LOG_SECTOR);
    const found = readSync(fd, head, 0, LOG_SECTOR, 0);
    closeSync(fd);
    if (found > 0 && !isSuperblock(head.subarray(0, found))) {
      throw new BlockDriverError(
        'ERR_DRIVE_OPTION',
        `${filename}: is there already and no log: name another file, or remove it`,
      );
    }
    const log = openSync(filename, 'w+');
    writeSync(log, encodeSuperblock(0n), 0, LOG_SECTOR, 0);
    return log;
  } catch (error) {
    throw logError(filename, error);
  }
}

function logError(filename: string, error: unknown): Error {
  if (error instanceof BlockDriverError || !(error instanceof Error)) return error as Error;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : 'EIO';
  return new BlockDriverError(code, `${filename}: can't be written as a log: ${error.message}`, {
    cause: error,
  });
}
