import { type BlockLimits, MAX_RANGE_SECTORS, MAX_RANGES, MAX_TRANSFER_BYTES } from './block-limits.js';
import { BlockOperation, type BlockRequest } from './block-request.js';
import {
  RANGE_BYTES,
  RANGE_FLAG_UNMAP,
  REQUEST_HEADER_BYTES,
  SECTOR_SIZE,
  SERIAL_BYTES,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_BLK_T_BARRIER,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_WRITE_ZEROES,
} from './constants.js';

const UNSETTLED = -1;

/**
 * Turns a popped chain into a block request, virtio 1.3 section 5.2.6. No assumption about framing: header, data and
 * status may share descriptors or be split over them; the status is the last writable byte.
 *
 * Afterwards `request.settled` is a status when there is nothing left to do (a guest's mistake, an id that has been
 * written), or -1 when the request goes to the driver with all its fields checked against the limits.
 */
export class RequestParser {
  readonly #limits: BlockLimits;
  readonly #header = new Uint8Array(REQUEST_HEADER_BYTES);
  readonly #headerView = new DataView(this.#header.buffer);
  readonly #ranges = new Uint8Array(MAX_RANGES * RANGE_BYTES);
  readonly #rangesView = new DataView(this.#ranges.buffer);
  readonly #serial = new Uint8Array(SERIAL_BYTES);

  constructor(limits: BlockLimits) {
    this.#limits = limits;
    this.#serial.set(limits.serial.subarray(0, SERIAL_BYTES));
  }

  /**
   * Fills in everything about the request, `settled` included, from the buffers of its chain.
   * @param sound false when the chain broke the rules: all that is left to do is to find its status byte
   */
  parse(request: BlockRequest, sound: boolean): void {
    const { readable, writable } = request;
    request.operation = BlockOperation.READ;
    request.rangeCount = 0;
    request.flushing = false;
    this.#takeStatusByte(request);
    if (!sound || request.statusOffset === -1 || readable.byteLength < REQUEST_HEADER_BYTES) {
      request.settled = VIRTIO_BLK_S_IOERR;
      return;
    }
    let view: DataView = this.#headerView;
    let at = 0;
    if (readable.lengths[0]! >= REQUEST_HEADER_BYTES) {
      view = readable.regions[0]!.view;
      at = readable.offsets[0]!;
    } else {
      readable.copyTo(this.#header, REQUEST_HEADER_BYTES);
    }
    const type = view.getUint32(at, true);
    const sectorLow = view.getUint32(at + 8, true);
    const sectorHigh = view.getUint32(at + 12, true);
    readable.dropFront(REQUEST_HEADER_BYTES);

    switch ((type & ~VIRTIO_BLK_T_BARRIER) >>> 0) {
      case VIRTIO_BLK_T_IN:
        request.data = writable;
        request.settled =
          readable.byteLength > 0 ? VIRTIO_BLK_S_IOERR : this.#place(request, sectorHigh, sectorLow);
        return;
      case VIRTIO_BLK_T_OUT:
        request.operation = BlockOperation.WRITE;
        request.data = readable;
        request.settled =
          writable.byteLength > 0 || this.#limits.readOnly
            ? VIRTIO_BLK_S_IOERR
            : this.#place(request, sectorHigh, sectorLow);
        return;
      case VIRTIO_BLK_T_FLUSH:
        // Data or a sector mean nothing here and do no harm.
        request.operation = BlockOperation.FLUSH;
        request.settled = UNSETTLED;
        return;
      case VIRTIO_BLK_T_GET_ID:
        request.operation = BlockOperation.GET_ID;
        request.settled =
          writable.byteLength < SERIAL_BYTES || writable.copyFrom(this.#serial) < SERIAL_BYTES
            ? VIRTIO_BLK_S_IOERR
            : VIRTIO_BLK_S_OK;
        return;
      case VIRTIO_BLK_T_DISCARD:
        request.operation = BlockOperation.DISCARD;
        request.settled = this.#checkRanges(request, this.#limits.discard);
        return;
      case VIRTIO_BLK_T_WRITE_ZEROES:
        request.operation = BlockOperation.WRITE_ZEROES;
        request.settled = this.#checkRanges(request, this.#limits.writeZeroes);
        return;
      default:
        request.settled = VIRTIO_BLK_S_UNSUPP;
    }
  }

  #takeStatusByte(request: BlockRequest): void {
    const { writable } = request;
    if (writable.length === 0) {
      request.statusRegion = undefined;
      request.statusOffset = -1;
      return;
    }
    const last = writable.length - 1;
    request.statusRegion = writable.regions[last]!;
    request.statusOffset = writable.offsets[last]! + writable.lengths[last]! - 1;
    writable.dropLastByte();
  }

  /** Checks where a READ or WRITE goes. Comparisons subtract: a sum could overflow. */
  #place(request: BlockRequest, sectorHigh: number, sectorLow: number): BlockRequest['settled'] {
    const { byteLength } = request.data;
    if (byteLength % SECTOR_SIZE !== 0 || byteLength > MAX_TRANSFER_BYTES) return VIRTIO_BLK_S_IOERR;
    if (!this.#within(sectorHigh, sectorLow, byteLength / SECTOR_SIZE)) return VIRTIO_BLK_S_IOERR;
    request.position = (sectorHigh * 0x1_0000_0000 + sectorLow) * SECTOR_SIZE;
    return byteLength === 0 ? VIRTIO_BLK_S_OK : UNSETTLED;
  }

  #within(sectorHigh: number, sectorLow: number, sectors: number): boolean {
    // A capacity is below 2^44 sectors, so anything with more high bits is beyond it, and no number is inexact.
    if (sectorHigh >= 0x1000) return false;
    const sector = sectorHigh * 0x1_0000_0000 + sectorLow;
    const { capacitySectors } = this.#limits;
    return sector <= capacitySectors && sectors <= capacitySectors - sector;
  }

  /** Checks every range before any is done (5.2.6.2). */
  #checkRanges(request: BlockRequest, offered: boolean): BlockRequest['settled'] {
    const { readable, writable } = request;
    if (this.#limits.readOnly) return VIRTIO_BLK_S_IOERR;
    if (!offered) return VIRTIO_BLK_S_UNSUPP;
    const { byteLength } = readable;
    if (byteLength === 0 || byteLength % RANGE_BYTES !== 0 || writable.byteLength > 0)
      return VIRTIO_BLK_S_IOERR;
    const count = byteLength / RANGE_BYTES;
    if (count > MAX_RANGES) return VIRTIO_BLK_S_UNSUPP;
    readable.copyTo(this.#ranges, byteLength);
    for (let i = 0; i < count; i++) {
      const at = i * RANGE_BYTES;
      const low = this.#rangesView.getUint32(at, true);
      const high = this.#rangesView.getUint32(at + 4, true);
      const sectors = this.#rangesView.getUint32(at + 8, true);
      const flags = this.#rangesView.getUint32(at + 12, true);
      if (sectors > MAX_RANGE_SECTORS || !this.#within(high, low, sectors)) return VIRTIO_BLK_S_IOERR;
      const allowed = request.operation === BlockOperation.WRITE_ZEROES ? RANGE_FLAG_UNMAP : 0;
      if ((flags & ~allowed) !== 0) return VIRTIO_BLK_S_UNSUPP;
      if (sectors === 0) continue;
      const range = request.rangeCount++;
      request.rangePositions[range] = (high * 0x1_0000_0000 + low) * SECTOR_SIZE;
      request.rangeLengths[range] = sectors * SECTOR_SIZE;
      request.rangeUnmaps[range] = flags & RANGE_FLAG_UNMAP;
    }
    return request.rangeCount === 0 ? VIRTIO_BLK_S_OK : UNSETTLED;
  }
}

/**
 * Writes the status byte of a finished request.
 * @returns the used length: bytes written into the chain, the status included; 0 where the chain has no status byte
 */
export function writeStatus(request: BlockRequest, status: number): number {
  if (request.statusOffset === -1) return 0;
  request.statusRegion!.bytes[request.statusOffset] = status;
  if (status !== VIRTIO_BLK_S_OK) return 1;
  if (request.operation === BlockOperation.READ) return request.data.byteLength + 1;
  return request.operation === BlockOperation.GET_ID ? SERIAL_BYTES + 1 : 1;
}
