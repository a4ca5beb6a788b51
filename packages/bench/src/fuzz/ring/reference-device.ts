import { locate, offsetOf, type RamRange, REGIONS } from './guest-ram.js';
import { AVAIL_RING, DESCRIPTOR_TABLE, type RingCase, USED_RING } from './ring-case.js';

/** Sectors of the disk behind the ring. */
export const DISK_SECTORS = 16;
/** What GET_ID answers. */
export const SERIAL = 'fuzz-0123456789abcdefgh';
const SERIAL_BYTES = 20;
const HEADER_BYTES = 16;
const MAX_CHAIN = 1026;
const SECTOR = 512;
const LARGEST_RANGE = 32768;
const LARGEST_TRANSFER = 2 ** 31 - SECTOR;

/** Where the parts of the ring are in RAM. */
const ID = new TextEncoder().encode(SERIAL).slice(0, SERIAL_BYTES);
const TABLE = offsetOf(DESCRIPTOR_TABLE);
const AVAIL = offsetOf(AVAIL_RING);
const USED = offsetOf(USED_RING);

const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;

const OK = 0;
const IOERR = 1;
const UNSUPP = 2;

type Words = [number, number, number, number];

interface Chain {
  sound: boolean;
  readonly readable: RamRange[];
  writable: RamRange[];
}

/** A request between its being taken and its being given back. */
interface Taken {
  readonly head: number;
  /** Where the status byte is in RAM; -1 where there is none. */
  readonly status: number;
  /** Does it. @returns status, and bytes written but for the status */
  readonly execute: () => readonly [status: number, written: number];
}

/**
 * The device as the specification and the project's table of mistakes have it, slow and simple, and written without a look at the
 * product's code: what memory and disk must hold after a case. It works in a RAM and on a disk of its own.
 */
export class ReferenceDevice {
  readonly ram: Uint8Array;
  readonly disk: Uint8Array;
  broken = false;
  taken = 0;
  readonly #view: DataView;
  #case!: RingCase;
  readonly #held = new Set<number>();
  #last = 0;
  #seen = 0;
  #used = 0;

  constructor(ram: Uint8Array, disk: Uint8Array) {
    this.ram = ram;
    this.disk = disk;
    this.#view = new DataView(ram.buffer, ram.byteOffset, ram.byteLength);
  }

  /** Serves what is available, at most `bound` chains. */
  serve(each: RingCase, bound: number): void {
    this.#case = each;
    this.#held.clear();
    this.#last = this.#seen = this.#used = each.start;
    this.broken = false;
    this.taken = 0;
    const { eventIdx, queueSize, hold } = each;
    const availEvent = USED + 4 + 8 * queueSize;
    do {
      if (eventIdx) this.#view.setUint16(availEvent, this.#last + 0x8000, true);
      else this.#view.setUint16(USED, 1, true);
      const waiting: Taken[] = [];
      while (this.taken < bound) {
        const next = this.#take();
        if (next === undefined) break;
        waiting.push(next);
        if (waiting.length >= hold) this.#giveAll(waiting);
      }
      this.#giveAll(waiting);
      this.#view.setUint16(USED + 2, this.#used, true);
      if (this.broken || this.taken >= bound) return;
      if (eventIdx) this.#view.setUint16(availEvent, this.#last, true);
      else this.#view.setUint16(USED, 0, true);
      this.#seen = this.#view.getUint16(AVAIL + 2, true);
    } while (this.#seen !== this.#last);
  }

  #take(): Taken | undefined {
    const { queueSize } = this.#case;
    // The driver's index is looked at when all that was seen of it has been taken.
    if (this.#seen === this.#last) this.#seen = this.#view.getUint16(AVAIL + 2, true);
    const waiting = (this.#seen - this.#last) & 0xffff;
    if (waiting === 0) return undefined;
    const head = this.#view.getUint16(AVAIL + 4 + 2 * (this.#last % queueSize), true);
    if (waiting > queueSize || head >= queueSize || this.#held.has(head)) {
      this.broken = true;
      return undefined;
    }
    this.#held.add(head);
    this.#last = (this.#last + 1) & 0xffff;
    this.taken++;
    return this.#understand(head, this.#collect(head));
  }

  #giveAll(waiting: Taken[]): void {
    for (const { head, status, execute } of waiting.splice(0).toReversed()) {
      const [result, written] = execute();
      if (status !== -1) this.ram[status] = result;
      const element = USED + 4 + 8 * (this.#used % this.#case.queueSize);
      this.#view.setUint32(element, head, true);
      this.#view.setUint32(element + 4, status === -1 ? 0 : written + 1, true);
      this.#used = (this.#used + 1) & 0xffff;
      this.#held.delete(head);
    }
  }

  #collect(head: number): Chain {
    const { queueSize, indirect } = this.#case;
    const chain: Chain = { sound: true, readable: [], writable: [] };
    const table: readonly RamRange[] = [[TABLE, queueSize * 16]];
    let index = head;
    for (let visited = 0; visited < queueSize; visited++) {
      const [high, low, byteLength, flags, next] = this.#descriptor(table, index);
      if ((flags & INDIRECT) !== 0) {
        const usable = indirect && (flags & NEXT) === 0 && byteLength > 0 && byteLength % 16 === 0;
        const inner = usable ? locate(high, low, byteLength) : undefined;
        if (inner === undefined) chain.sound = false;
        else this.#collectTable(inner, byteLength / 16, MAX_CHAIN - visited, chain);
        return chain;
      }
      this.#add(chain, high, low, byteLength, flags);
      if ((flags & NEXT) === 0) return chain;
      index = next;
      if (index >= queueSize) break;
    }
    chain.sound = false;
    return chain;
  }

  #collectTable(table: readonly RamRange[], count: number, bound: number, chain: Chain): void {
    let index = 0;
    for (let visited = 0; visited < count && visited < bound; visited++) {
      const [high, low, byteLength, flags, next] = this.#descriptor(table, index);
      if ((flags & INDIRECT) !== 0) break;
      this.#add(chain, high, low, byteLength, flags);
      if ((flags & NEXT) === 0) return;
      index = next;
      if (index >= count) break;
    }
    chain.sound = false;
  }

  #add(chain: Chain, high: number, low: number, byteLength: number, flags: number): void {
    const ranges = byteLength === 0 ? [] : locate(high, low, byteLength);
    if ((flags & WRITE) !== 0) {
      if (ranges === undefined) {
        // The status byte is the last writable one: none of those before is it.
        chain.sound = false;
        chain.writable = [];
      } else chain.writable.push(...ranges);
      return;
    }
    // A readable buffer behind a writable one is out of order; one without a byte has no direction.
    if (ranges === undefined || (chain.writable.length > 0 && byteLength > 0)) chain.sound = false;
    else chain.readable.push(...ranges);
  }

  #descriptor(table: readonly RamRange[], index: number): readonly [number, number, number, number, number] {
    let start = index * 16;
    const [offset, size] = table[0]!;
    if (table.length === 1 || start + 16 <= size) return fieldsOf(this.#view, offset + start);
    const bytes = new Uint8Array(16);
    for (let i = 0; i < 16; i++, start++) bytes[i] = this.ram[nth(table, start)]!;
    return fieldsOf(new DataView(bytes.buffer), 0);
  }

  #understand(head: number, { sound, readable, writable }: Chain): Taken {
    const answer = (status: number, result: number, written = 0): Taken => ({
      head,
      status,
      execute: () => [result, written],
    });
    if (writable.length === 0) return answer(-1, IOERR);
    const inBytes = sum(writable) - 1;
    const status = nth(writable, inBytes);
    const outBytes = sum(readable) - HEADER_BYTES;
    if (!sound || outBytes < 0) return answer(status, IOERR);
    const type = this.#word(readable, 0) & 0x7fff_ffff;
    const sector = this.#word(readable, 8);
    const sectorHigh = this.#word(readable, 12);
    const { readOnly } = this.#case;
    const fits = (high: number, first: number, bytes: number): boolean =>
      high === 0 && first * SECTOR + bytes <= DISK_SECTORS * SECTOR;
    switch (type) {
      case 0: {
        if (outBytes > 0 || inBytes % SECTOR !== 0 || inBytes > LARGEST_TRANSFER) break;
        if (!fits(sectorHigh, sector, inBytes)) break;
        const execute = (): readonly [number, number] => {
          this.#scatter(writable, this.disk.subarray(sector * SECTOR, sector * SECTOR + inBytes));
          return [OK, inBytes];
        };
        return { head, status, execute };
      }
      case 1: {
        if (readOnly || inBytes > 0 || outBytes % SECTOR !== 0 || outBytes > LARGEST_TRANSFER) break;
        if (!fits(sectorHigh, sector, outBytes)) break;
        const execute = (): readonly [number, number] => {
          this.#gather(readable, this.disk.subarray(sector * SECTOR, sector * SECTOR + outBytes));
          return [OK, 0];
        };
        return { head, status, execute };
      }
      case 4:
        return answer(status, OK);
      case 8: {
        if (inBytes < SERIAL_BYTES) break;
        this.#scatter(writable, ID);
        return answer(status, OK, SERIAL_BYTES);
      }
      case 11:
      case 13: {
        if (readOnly) break;
        if (!this.#case.ranges) return answer(status, UNSUPP);
        if (outBytes === 0 || outBytes % 16 !== 0 || inBytes > 0) break;
        if (outBytes > 16) return answer(status, UNSUPP);
        const [first, high, sectors, flags] = [16, 20, 24, 28].map((at) => this.#word(readable, at)) as Words;
        if (sectors > LARGEST_RANGE || !fits(high, first, sectors * SECTOR)) break;
        if (flags !== 0 && (type === 11 || flags !== 1)) return answer(status, UNSUPP);
        const execute = (): readonly [number, number] => {
          this.disk.fill(0, first * SECTOR, (first + sectors) * SECTOR);
          return [OK, 0];
        };
        return { head, status, execute };
      }
      default:
        return answer(status, UNSUPP);
    }
    return answer(status, IOERR);
  }

  /** The 32-bit word that begins with byte `at` of the ranges. */
  #word(ranges: readonly RamRange[], at: number): number {
    const [offset, size] = ranges[0]!;
    if (at + 4 <= size) return this.#view.getUint32(offset + at, true);
    const bytes = [0, 1, 2, 3].map((i) => this.ram[nth(ranges, at + i)]!);
    return bytes.reduceRight((word, byte) => word * 256 + byte, 0);
  }

  /** Copies what stands behind the header in a list of ranges. */
  #gather(ranges: readonly RamRange[], target: Uint8Array): void {
    let before = -HEADER_BYTES;
    for (const [offset, size] of ranges) {
      const skip = Math.max(0, -before);
      if (skip < size) target.set(this.ram.subarray(offset + skip, offset + size), before + skip);
      before += size;
    }
  }

  #scatter(ranges: readonly RamRange[], bytes: Uint8Array): void {
    let at = 0;
    for (const [offset, size] of ranges) {
      this.ram.set(bytes.subarray(at, at + size), offset);
      at += size;
      if (at >= bytes.length) return;
    }
  }
}

function fieldsOf(view: DataView, at: number): readonly [number, number, number, number, number] {
  return [
    view.getUint32(at + 4, true),
    view.getUint32(at, true),
    view.getUint32(at + 8, true),
    view.getUint16(at + 12, true),
    view.getUint16(at + 14, true),
  ];
}

/** Where in RAM byte `n` of the ranges is. */
function nth(ranges: readonly RamRange[], n: number): number {
  let left = n;
  for (const [offset, size] of ranges) {
    if (left < size) return offset + left;
    left -= size;
  }
  throw new RangeError(`${n} is beyond the ${REGIONS.length} regions' buffers`);
}

function sum(ranges: readonly RamRange[]): number {
  let total = 0;
  for (const range of ranges) total += range[1];
  return total;
}
