import type { VirtqueueAddresses } from '../virtqueue/split-ring.js';
import { VIRTQ_DESC_F_NEXT, VIRTQ_DESC_F_WRITE } from '../virtqueue/split-ring.js';
import { REQUEST_HEADER_BYTES, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_GET_ID } from '../virtio-blk/constants.js';
import { DriverQueue } from '../virtqueue/driver-queue.js';
import type { GuestAllocator } from './guest-allocator.js';

/** A queue to drive, and what its requests may be. */
export interface BlkDriverOptions {
  readonly addresses: VirtqueueAddresses;
  /** Requests in flight at most; three descriptors each, so at most a third of the queue's size. */
  readonly depth: number;
  /** Bytes of data that a request can carry. */
  readonly dataBytes: number;
  readonly eventIdx: boolean;
}

const DESCRIPTORS = 3;
/** A value that no device writes: tells a status byte that was never set. */
const NO_STATUS = 0xff;

/**
 * A virtio-blk driver for one queue: `depth` slots, each with a header, a data buffer and a status byte of its own in
 * guest memory. No allocation per request, so that it can measure devices.
 */
export class BlkDriver {
  readonly queue: DriverQueue;
  readonly depth: number;
  readonly #headers: DataView[] = [];
  readonly #data: Uint8Array[] = [];
  readonly #dataAddresses: number[] = [];
  readonly #statuses: Uint8Array[] = [];
  readonly #statusAddresses: number[] = [];
  /** Free slots, a stack. */
  readonly #free: number[] = [];
  readonly #busy: Uint8Array;

  constructor(allocator: GuestAllocator, options: BlkDriverOptions) {
    const { addresses, depth, dataBytes } = options;
    if (depth < 1 || depth * DESCRIPTORS > addresses.size) {
      throw new RangeError(`depth must be 1 to ${Math.floor(addresses.size / DESCRIPTORS)}, got ${depth}`);
    }
    this.queue = new DriverQueue(allocator.memory, addresses, options);
    this.depth = depth;
    this.#busy = new Uint8Array(depth);
    for (let slot = 0; slot < depth; slot++) {
      const header = allocator.allocate(REQUEST_HEADER_BYTES, 16);
      const status = allocator.allocate(1, 16);
      const data = allocator.allocate(dataBytes, 512);
      this.#headers.push(allocator.view(header, REQUEST_HEADER_BYTES));
      this.#statuses.push(allocator.bytes(status, 1));
      this.#statusAddresses.push(status);
      this.#data.push(allocator.bytes(data, dataBytes));
      this.#dataAddresses.push(data);
      this.queue.writeDescriptor(
        slot * DESCRIPTORS,
        header,
        REQUEST_HEADER_BYTES,
        VIRTQ_DESC_F_NEXT,
        slot * DESCRIPTORS + 1,
      );
    }
    for (let slot = depth - 1; slot >= 0; slot--) this.#free.push(slot);
  }

  /** Requests that were started and not taken back; those that are only prepared count as well. */
  get inFlight(): number {
    return this.depth - this.#free.length;
  }

  /** The data buffer of a slot, in guest memory. */
  data(slot: number): Uint8Array {
    return this.#data[slot]!;
  }

  /** The status byte of a slot whose request has completed; 0xff where the device never wrote one. */
  status(slot: number): number {
    return this.#statuses[slot]![0]!;
  }

  /** A free slot to fill and start, or -1. It is taken from now on. */
  takeSlot(): number {
    return this.#free.pop() ?? -1;
  }

  /**
   * Makes a request available in `slot`; the device sees it after `publish`.
   * @param byteLength bytes of the slot's data buffer to send or fill; 0 for none
   */
  start(slot: number, type: number, sector: number, byteLength: number): void {
    const header = this.#headers[slot]!;
    header.setUint32(0, type, true);
    header.setUint32(4, 0, true);
    header.setUint32(8, sector >>> 0, true);
    header.setUint32(12, Math.floor(sector / 0x1_0000_0000), true);
    this.#statuses[slot]![0] = NO_STATUS;
    this.#busy[slot] = 1;
    const { descriptors } = this.queue.ring;
    const first = slot * DESCRIPTORS;
    const deviceWrites = type === VIRTIO_BLK_T_IN || type === VIRTIO_BLK_T_GET_ID;
    let at = (first + 1) * 4;
    if (byteLength > 0) {
      const address = this.#dataAddresses[slot]!;
      descriptors[at] = address >>> 0;
      descriptors[at + 1] = Math.floor(address / 0x1_0000_0000);
      descriptors[at + 2] = byteLength;
      descriptors[at + 3] =
        (((first + 2) << 16) | VIRTQ_DESC_F_NEXT | (deviceWrites ? VIRTQ_DESC_F_WRITE : 0)) >>> 0;
      at += 4;
    }
    const address = this.#statusAddresses[slot]!;
    descriptors[at] = address >>> 0;
    descriptors[at + 1] = Math.floor(address / 0x1_0000_0000);
    descriptors[at + 2] = 1;
    descriptors[at + 3] = VIRTQ_DESC_F_WRITE;
    this.queue.makeAvailable(first);
  }

  /** Shows the device what was started. @returns whether it wants a kick */
  publish(): boolean {
    return this.queue.publish();
  }

  /**
   * Takes the next completion; its slot is free again, its data and status stay until the slot is used anew.
   * @returns the slot, or -1 when there is none
   * @throws Error when the device completes what was not in flight
   */
  takeDone(): number {
    const head = this.queue.takeUsed();
    if (head === -1) return -1;
    const slot = head / DESCRIPTORS;
    if (this.#busy[slot] !== 1) throw new Error(`the device completed head ${head}, which was not in flight`);
    this.#busy[slot] = 0;
    this.#free.push(slot);
    return slot;
  }
}
