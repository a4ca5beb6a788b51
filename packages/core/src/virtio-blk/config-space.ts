import { MAX_CHAIN_DESCRIPTORS } from '../virtqueue/descriptor-chain.js';
import { MAX_RANGE_SECTORS, MAX_RANGES } from './block-limits.js';

/** Size of `struct virtio_blk_config` up to and including the write-zeroes fields (virtio 1.3 section 5.2.4). */
export const BLK_CONFIG_BYTES = 60;

/** Byte offsets of the fields that the device fills in. */
const CAPACITY = 0;
const SIZE_MAX = 8;
const SEG_MAX = 12;
const BLK_SIZE = 20;
const PHYSICAL_BLOCK_EXP = 24;
const MIN_IO_SIZE = 26;
const OPT_IO_SIZE = 28;
const WRITEBACK = 32;
const NUM_QUEUES = 34;
const MAX_DISCARD_SECTORS = 36;
const MAX_DISCARD_SEG = 40;
const DISCARD_SECTOR_ALIGNMENT = 44;
const MAX_WRITE_ZEROES_SECTORS = 48;
const MAX_WRITE_ZEROES_SEG = 52;
const WRITE_ZEROES_MAY_UNMAP = 56;

/** What a virtio-blk device says of itself in its configuration space. */
export interface BlkConfigOptions {
  readonly capacitySectors: number;
  readonly numQueues: number;
  /** Largest size of a queue; data buffers of a request are bounded by it less the header and the status. */
  readonly queueSize: number;
  /** Bytes, a power of two from 512 to 4096. */
  readonly logicalBlockSize: number;
  readonly discard: boolean;
  readonly writeZeroes: boolean;
  /** The longest data segment of a request, bytes (VIRTIO_BLK_F_SIZE_MAX); default: no bound. */
  readonly sizeMax?: number | undefined;
  /** The most data segments of a request, where it is less than what `queueSize` allows. */
  readonly segMax?: number | undefined;
}

/** The configuration space of a virtio-blk device. Reads are bounded; only `writeback` can be written. */
export class BlkConfigSpace {
  readonly #bytes = new Uint8Array(BLK_CONFIG_BYTES);
  readonly #view = new DataView(this.#bytes.buffer);

  constructor(options: BlkConfigOptions) {
    const view = this.#view;
    const sectorsPerBlock = options.logicalBlockSize / 512;
    this.capacitySectors = options.capacitySectors;
    const chain = Math.max(1, Math.min(options.queueSize, MAX_CHAIN_DESCRIPTORS) - 2);
    view.setUint32(SIZE_MAX, options.sizeMax ?? 0, true);
    view.setUint32(SEG_MAX, Math.min(options.segMax ?? Infinity, chain), true);
    view.setUint32(BLK_SIZE, options.logicalBlockSize, true);
    // Physical blocks of 4 KiB, as file systems below have them: 2^exp logical blocks.
    view.setUint8(PHYSICAL_BLOCK_EXP, Math.log2(4096 / options.logicalBlockSize));
    view.setUint16(MIN_IO_SIZE, 4096 / options.logicalBlockSize, true);
    view.setUint32(OPT_IO_SIZE, 0, true);
    view.setUint16(NUM_QUEUES, options.numQueues, true);
    if (options.discard) {
      view.setUint32(MAX_DISCARD_SECTORS, MAX_RANGE_SECTORS, true);
      view.setUint32(MAX_DISCARD_SEG, MAX_RANGES, true);
      view.setUint32(DISCARD_SECTOR_ALIGNMENT, sectorsPerBlock, true);
    }
    if (options.writeZeroes) {
      view.setUint32(MAX_WRITE_ZEROES_SECTORS, MAX_RANGE_SECTORS, true);
      view.setUint32(MAX_WRITE_ZEROES_SEG, MAX_RANGES, true);
      view.setUint8(WRITE_ZEROES_MAY_UNMAP, 1);
    }
  }

  /** Size of the disk in sectors of 512 bytes. */
  set capacitySectors(sectors: number) {
    this.#view.setBigUint64(CAPACITY, BigInt(sectors), true);
  }

  /** Whether the cache is write-back: a completed write is durable after a flush only. */
  get writeback(): boolean {
    return this.#bytes[WRITEBACK] === 1;
  }

  set writeback(on: boolean) {
    this.#bytes[WRITEBACK] = on ? 1 : 0;
  }

  /** Copies `[offset, offset + target.length)`; what lies beyond the configuration space reads as 0. */
  read(offset: number, target: Uint8Array): void {
    for (let i = 0; i < target.length; i++) target[i] = this.#bytes[offset + i] ?? 0;
  }

  /**
   * A driver's write. Everything but `writeback` is ignored, whatever its width.
   * @returns whether `writeback` changed
   */
  write(offset: number, source: Uint8Array): boolean {
    const value = source[WRITEBACK - offset];
    if (value === undefined || offset > WRITEBACK) return false;
    const before = this.writeback;
    this.writeback = (value & 1) === 1;
    return this.writeback !== before;
  }
}
