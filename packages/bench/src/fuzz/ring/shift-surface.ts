import { BlockRequest, DescriptorWalker, SplitRing, writeStatus } from '@iothreads/core';
import { Random } from '../../stress/random.js';
import { differences } from '../differences.js';
import type { FuzzSurface } from '../surface.js';
import { addressesOf, DeviceSide, DISK_BUFFER_BYTES, diskIn, FRESH_DISK } from './device-side.js';
import { FRESH_RAM, locate, offsetOf, RAM_BYTES, type RamRange } from './guest-ram.js';
import { oddNumber } from './request-plan.js';
import { makeRingCase } from './ring-generator.js';
import { DESCRIPTOR_TABLE, type RingCase, writeCase } from './ring-case.js';

/** Chains in memory that changes under the device's eyes. */
export interface ShiftCase {
  readonly ring: RingCase;
  /** What changes follows from this. */
  readonly shifts: number;
}

const WORDS = 4;
const NEXT = 1;
const WRITE = 2;
const INDIRECT = 4;

/** A word that the device has read: where in RAM, and what it was. */
type Read = readonly [offset: number, value: number];

/** Memory in which every word may be another as soon as it has been read: what a guest on another processor can do, in slow motion. */
class ShiftingMemory {
  readonly reads: Read[] = [];
  readonly #ram: DataView;
  readonly #expected: DataView;
  #random = new Random(1);

  /** @param expected where the guest's changes are noted, so that they are told from the device's */
  constructor(ram: DataView, expected: DataView) {
    this.#ram = ram;
    this.#expected = expected;
  }

  begin(shifts: number): void {
    this.#random = new Random(shifts);
    this.reads.length = 0;
  }

  read(offset: number): number {
    const value = this.#ram.getUint32(offset, true);
    this.reads.push([offset, value]);
    const random = this.#random;
    if (random.chance(0.5)) {
      const other = random.chance(0.5) ? (value ^ (1 << random.below(32))) >>> 0 : oddNumber(random);
      this.#ram.setUint32(offset, other, true);
      this.#expected.setUint32(offset, other, true);
    }
    return value;
  }
}

/** A view of a region whose words shift. */
class ShiftingView extends DataView<ArrayBufferLike> {
  readonly #memory: ShiftingMemory;

  constructor(plain: DataView, memory: ShiftingMemory) {
    super(plain.buffer, plain.byteOffset, plain.byteLength);
    this.#memory = memory;
  }

  override getUint32(at: number): number {
    // For its bounds.
    super.getUint32(at);
    return this.#memory.read(this.byteOffset + at);
  }

  override getInt32(at: number): number {
    return this.getUint32(at) | 0;
  }
}

/**
 * Whether each word of a descriptor and of a header is read once, so that what was checked is what is used: the words read must be
 * those of one descriptor after the other, and what is written must be where the words that were read say.
 */
export class ShiftSurface implements FuzzSurface<ShiftCase> {
  readonly #device: DeviceSide;
  readonly #expected = new Uint8Array(RAM_BYTES);
  readonly #expectedDisk = new Uint8Array(DISK_BUFFER_BYTES);
  readonly #memory: ShiftingMemory;
  readonly #request = new BlockRequest();

  private constructor(device: DeviceSide) {
    this.#device = device;
    this.#memory = new ShiftingMemory(device.ramView, new DataView(this.#expected.buffer));
    for (const region of device.memory.regions) region.view = new ShiftingView(region.view, this.#memory);
  }

  static async create(): Promise<ShiftSurface> {
    return new ShiftSurface(await DeviceSide.create());
  }

  make(random: Random): ShiftCase {
    const shifts = 1 + random.below(0x7fff_ffff);
    return { ring: makeRingCase(random), shifts };
  }

  play({ ring, shifts }: ShiftCase): number {
    const { ram, ramView, disk, memory } = this.#device;
    ram.set(FRESH_RAM);
    disk.set(FRESH_DISK);
    writeCase(ring, ramView);
    this.#expected.set(ram);
    this.#expectedDisk.set(FRESH_DISK);
    this.#memory.begin(shifts);
    const layout = new SplitRing(memory, addressesOf(ring));
    const descriptors = new Proxy(layout.descriptors, {
      get: (words, key) => {
        const index = Number(key);
        if (!(index < words.length)) return undefined;
        return this.#memory.read(offsetOf(DESCRIPTOR_TABLE) + 4 * index);
      },
    });
    const walker = new DescriptorWalker(memory, Object.assign(layout, { descriptors }), ring.indirect);
    const heads = ring.heads.filter((head) => head < ring.queueSize);
    for (const head of heads) this.#serve(ring, walker, head);
    return heads.length;
  }

  #serve(ring: RingCase, walker: DescriptorWalker, head: number): void {
    const request = this.#request;
    const { ram, disk, driver } = this.#device;
    const { reads } = this.#memory;
    reads.length = 0;
    const sound = walker.walk(head, request);
    const writable = checkVisits(reads);
    reads.length = 0;
    this.#device.parserOf(ring).parse(request, sound);
    const header = new Set(reads.map(([offset]) => offset));
    if (header.size !== reads.length) throw new Error(`the header is read twice: ${describe(reads)}`);
    const status = request.settled === -1 ? driver.executeSync!(request) : request.settled;
    writeStatus(request, status);
    allow(writable, ram, this.#expected);
    differences('guest memory', ram, this.#expected);
    // Where on the disk, the other surfaces see to; that it is the disk at all is for this one to see.
    diskIn(this.#expectedDisk).set(diskIn(disk));
    differences('around the disk', disk, this.#expectedDisk);
  }
}

/** Everything: for chains of which not all reads were seen. */
const ALL: RamRange = [0, RAM_BYTES];

/** @returns what may be written, by the words that were read. @throws Error when they are not those of whole descriptors, in turn */
function checkVisits(reads: readonly Read[]): RamRange[] {
  const writable: RamRange[] = [];
  for (let i = 0; i < reads.length; i += WORDS) {
    const visit = reads.slice(i, i + WORDS);
    const begin = Math.min(...visit.map(([offset]) => offset));
    const words: number[] = [];
    for (const [offset, value] of visit) words[(offset - begin) / 4] = value;
    const [low, high, byteLength, flags] = words;
    if (words.length !== WORDS || words.includes(undefined as unknown as number) || flags === undefined) {
      throw new Error(`a descriptor is not read word by word, each once: ${describe(visit)}`);
    }
    if ((flags & WRITE) !== 0) writable.push(...(locate(high!, low!, byteLength!) ?? []));
    // A table over the seam of two regions is copied byte by byte, unseen.
    if ((flags & INDIRECT) !== 0 && (locate(high!, low!, byteLength!)?.length ?? 0) > 1) return [ALL];
    if ((flags & NEXT) === 0 && (flags & INDIRECT) === 0 && i + WORDS < reads.length) {
      throw new Error(`the chain goes on behind its end: ${describe(reads.slice(i))}`);
    }
  }
  return writable;
}

function allow(ranges: readonly RamRange[], from: Uint8Array, to: Uint8Array): void {
  for (const [offset, byteLength] of ranges) to.set(from.subarray(offset, offset + byteLength), offset);
}

const describe = (reads: readonly Read[]): string =>
  reads.map(([offset, value]) => `${value.toString(16)} at ${offset.toString(16)}`).join(', ');
