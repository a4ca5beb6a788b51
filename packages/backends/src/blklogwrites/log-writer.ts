import { BlockOperation, type BlockRequest } from '@iothreads/core';
import { writeSync } from 'node:fs';
import { SegmentCursor } from '../segment-cursor.js';
import { encodeHeader, LOG_DISCARD, LOG_FLUSH, LOG_SECTOR, type LogHeader } from './log-format.js';
import { LogCounter, type WriteLogState } from './write-log.js';

/** Bytes that are copied out of guest memory at a time. */
const CHUNK_BYTES = 256 * 1024;

/**
 * Writes to a log that others write to as well. Whoever has an entry takes its place first, by one addition to a shared counter: in
 * the order of the places entries came to be complete.
 */
export class LogWriter {
  readonly #fd: number;
  readonly #counters: BigInt64Array;
  readonly #offset: number;
  readonly #cursor = new SegmentCursor();
  #chunk: Uint8Array | undefined;

  /** @param offset where the disk begins in the one that the log is of, bytes */
  constructor({ fd, counters }: WriteLogState, offset: number) {
    this.#fd = fd;
    this.#counters = new BigInt64Array(counters);
    this.#offset = offset;
  }

  /** How long the log is, sectors. */
  get length(): number {
    return Number(Atomics.load(this.#counters, LogCounter.LENGTH));
  }

  /**
   * A request is complete; it is not shown to anybody before this returns.
   * @param reached `length` as it was when the request reached the disk
   * @throws Error a system error
   */
  append(request: BlockRequest, reached: number): void {
    const { operation, rangeCount, rangePositions, rangeLengths } = request;
    if (operation === BlockOperation.WRITE) {
      const { byteLength } = request;
      const sector = this.#sectorOf(request.position);
      const at = this.#entry({ sector, sectors: byteLength / LOG_SECTOR, flags: 0n, reached }, byteLength);
      this.#data(at, request);
    } else if (operation === BlockOperation.FLUSH) {
      this.#entry({ sector: 0, sectors: 0, flags: LOG_FLUSH, reached }, 0);
    } else {
      const zeroes = operation === BlockOperation.WRITE_ZEROES;
      for (let i = 0; i < rangeCount; i++) {
        const byteLength = rangeLengths[i]!;
        const sector = this.#sectorOf(rangePositions[i]!);
        const flags = zeroes ? 0n : LOG_DISCARD;
        // Zeroes are a hole in the log.
        this.#entry({ sector, sectors: byteLength / LOG_SECTOR, flags, reached }, zeroes ? byteLength : 0);
      }
    }
  }

  #sectorOf(position: number): number {
    return (this.#offset + position) / LOG_SECTOR;
  }

  /** @returns the byte of the log where its data begins */
  #entry(header: LogHeader, dataBytes: number): number {
    const taken = BigInt(1 + dataBytes / LOG_SECTOR);
    const at = Number(Atomics.add(this.#counters, LogCounter.LENGTH, taken)) * LOG_SECTOR;
    Atomics.add(this.#counters, LogCounter.ENTRIES, 1n);
    this.#write(encodeHeader(header), LOG_SECTOR, at);
    return at + LOG_SECTOR;
  }

  #data(begin: number, request: BlockRequest): void {
    const chunk = (this.#chunk ??= new Uint8Array(CHUNK_BYTES));
    const cursor = this.#cursor;
    cursor.start(request.data);
    for (let at = begin; cursor.left > 0;) {
      const take = Math.min(cursor.left, chunk.length);
      cursor.read(chunk.subarray(0, take));
      this.#write(chunk, take, at);
      at += take;
    }
  }

  #write(bytes: Uint8Array, byteLength: number, position: number): void {
    for (let done = 0; done < byteLength;) {
      done += writeSync(this.#fd, bytes, done, byteLength - done, position + done);
    }
  }
}
