import {
  BlockOperation,
  BlockRequest,
  MAX_RANGE_SECTORS,
  Popped,
  RANGE_FLAG_UNMAP,
  RequestParser,
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
  Virtqueue,
} from '@iothreads/core';
import { DriverQueue, GuestAllocator } from '@iothreads/core/testing';
import { describe, expect, test } from 'vitest';
import {
  BlockRig,
  RIGS,
  CAPACITY_SECTORS,
  diskPattern,
  NEXT,
  NO_STATUS,
  pattern,
  type RawDescriptor,
  type RigOptions,
  SECOND_REGION,
  WRITE,
} from './support/block-rig.js';
import { firstDifference } from './support/first-difference.js';
import type { GuestRange } from './support/memory-snapshot.js';

const IN = VIRTIO_BLK_T_IN;
const OUT = VIRTIO_BLK_T_OUT;
const FLUSH = VIRTIO_BLK_T_FLUSH;
const GET_ID = VIRTIO_BLK_T_GET_ID;
const DISCARD = VIRTIO_BLK_T_DISCARD;
const ZEROES = VIRTIO_BLK_T_WRITE_ZEROES;

/** A buffer of a request: name of its place in the rig's memory, offset in it, bytes, and whether the device writes it. */
type Part = readonly [
  place: 'header' | 'data' | 'status',
  offset: number,
  byteLength: number,
  flags?: number,
];

/** One request as a driver frames it, and everything that must come of it. */
interface Row {
  readonly what: string;
  readonly options?: RigOptions;
  readonly type: number;
  readonly sector?: number | bigint;
  readonly reserved?: number;
  readonly parts: readonly Part[];
  /** Ranges of a discard or write-zeroes, put into the data buffer: sector, sectors, flags. */
  readonly ranges?: readonly (readonly [sector: number | bigint, sectors: number, flags: number])[];
  /** undefined: the status byte must not be touched. */
  readonly status?: number;
  readonly usedLength: number;
  /** Operations that reach the disk. */
  readonly operations?: readonly BlockOperation[];
  /** What the guest's data buffer must hold afterwards, from its first byte on; all else must be as it was. */
  readonly data?: Uint8Array;
  /** What the disk must hold, by byte offset; all else must be as it was. */
  readonly disk?: readonly [position: number, bytes: Uint8Array];
}

const HEADER: Part = ['header', 0, 16];
const STATUS: Part = ['status', 0, 1, WRITE];
const readInto = (byteLength: number, offset: number = 0): Part => ['data', offset, byteLength, WRITE];
const writeFrom = (byteLength: number, offset: number = 0): Part => ['data', offset, byteLength];

const onDisk = (position: number, byteLength: number): Uint8Array =>
  Uint8Array.from({ length: byteLength }, (_, i) => diskPattern(position + i));
const inMemory = (offset: number, byteLength: number): Uint8Array =>
  Uint8Array.from({ length: byteLength }, (_, i) => pattern(offset + i));
const serial = (text: string): Uint8Array => {
  const bytes = new Uint8Array(20);
  bytes.set(new TextEncoder().encode(text));
  return bytes;
};

const ioError = { status: VIRTIO_BLK_S_IOERR, usedLength: 1 };
const unsupported = { status: VIRTIO_BLK_S_UNSUPP, usedLength: 1 };
const lost = { usedLength: 0 };
const readOk = (sector: number, byteLength: number) => ({
  sector,
  status: VIRTIO_BLK_S_OK,
  usedLength: byteLength + 1,
  operations: [BlockOperation.READ],
  data: onDisk(sector * 512, byteLength),
});
const writeOk = (sector: number, bytes: Uint8Array) => ({
  sector,
  status: VIRTIO_BLK_S_OK,
  usedLength: 1,
  operations: [BlockOperation.WRITE],
  disk: [sector * 512, bytes] as const,
});
const done = (operation: BlockOperation) => ({
  status: VIRTIO_BLK_S_OK,
  usedLength: 1,
  operations: [operation],
});
const zeroed = (position: number, byteLength: number) => ({
  disk: [position, new Uint8Array(byteLength)] as const,
});

const readOnly: RigOptions = { limits: { readOnly: true } };

const framing: readonly Row[] = [
  { what: 'header, data, status', type: IN, parts: [HEADER, readInto(1024), STATUS], ...readOk(5, 1024) },
  {
    what: 'a header split in two',
    type: IN,
    parts: [['header', 0, 9], ['header', 9, 7], readInto(512), STATUS],
    ...readOk(63, 512),
  },
  {
    what: 'a header split into bytes',
    options: { queueSize: 32 },
    type: IN,
    parts: [...Array.from({ length: 16 }, (_, i): Part => ['header', i, 1]), readInto(512), STATUS],
    ...readOk(3, 512),
  },
  {
    what: 'data split unevenly over descriptors, not in order',
    type: OUT,
    parts: [HEADER, writeFrom(1, 700), writeFrom(510, 10), writeFrom(513, 2048), STATUS],
    ...writeOk(7, Uint8Array.of(...inMemory(700, 1), ...inMemory(10, 510), ...inMemory(2048, 513))),
  },
  {
    what: 'the status at the end of the data buffer',
    type: IN,
    parts: [HEADER, readInto(513)],
    usedLength: 513,
    operations: [BlockOperation.READ],
    data: Uint8Array.of(...onDisk(0, 512), VIRTIO_BLK_S_OK),
  },
  {
    what: 'the status byte in a descriptor with the last data, data in three',
    type: IN,
    parts: [HEADER, readInto(100), readInto(400, 100), readInto(13, 500)],
    usedLength: 513,
    operations: [BlockOperation.READ],
    data: Uint8Array.of(...onDisk(0, 512), VIRTIO_BLK_S_OK),
  },
  {
    what: 'a flush in two descriptors',
    type: FLUSH,
    parts: [HEADER, STATUS],
    ...done(BlockOperation.FLUSH),
  },
  {
    what: 'a read of nothing',
    type: IN,
    sector: CAPACITY_SECTORS,
    parts: [HEADER, STATUS],
    status: VIRTIO_BLK_S_OK,
    usedLength: 1,
  },
  {
    what: 'a write of nothing',
    type: OUT,
    parts: [HEADER, STATUS],
    status: VIRTIO_BLK_S_OK,
    usedLength: 1,
  },
];

const malformed: readonly Row[] = [
  ...[0, 1, 8, 15].map((byteLength): Row => ({
    what: `a header of ${byteLength} bytes`,
    type: IN,
    parts: [['header', 0, byteLength], readInto(512), STATUS],
    ...ioError,
  })),
  { what: 'a header of 15 bytes and no status', type: OUT, parts: [['header', 0, 15]], ...lost },
  { what: 'no writable byte, a read', type: IN, parts: [HEADER], ...lost },
  { what: 'no writable byte, a write', type: OUT, parts: [HEADER, writeFrom(512)], ...lost },
  { what: 'no writable byte, a flush', type: FLUSH, parts: [HEADER], ...lost },
  { what: 'a read into a readable buffer', type: IN, parts: [HEADER, writeFrom(512), STATUS], ...ioError },
  {
    what: 'a read into a readable and a writable buffer',
    type: IN,
    parts: [HEADER, writeFrom(512), readInto(512, 512), STATUS],
    ...ioError,
  },
  { what: 'a write from a writable buffer', type: OUT, parts: [HEADER, readInto(512), STATUS], ...ioError },
  {
    what: 'a write from a readable and a writable buffer',
    type: OUT,
    parts: [HEADER, writeFrom(512), readInto(512, 512), STATUS],
    ...ioError,
  },
  ...[1, 511, 513, 1000].flatMap((byteLength): Row[] => [
    {
      what: `a read of ${byteLength} bytes`,
      type: IN,
      parts: [HEADER, readInto(byteLength), STATUS],
      ...ioError,
    },
    {
      what: `a write of ${byteLength} bytes`,
      type: OUT,
      parts: [HEADER, writeFrom(byteLength), STATUS],
      ...ioError,
    },
  ]),
  {
    what: 'a read of 511 bytes, the status the last byte of 512',
    type: IN,
    parts: [HEADER, readInto(512)],
    usedLength: 1,
    data: Uint8Array.of(...inMemory(0, 511), VIRTIO_BLK_S_IOERR),
  },
];

const beyond: readonly Row[] = [
  [CAPACITY_SECTORS, 512],
  [CAPACITY_SECTORS - 1, 1024],
  [CAPACITY_SECTORS - 3, 2048],
  [CAPACITY_SECTORS + 1, 0],
  [2 ** 32, 512],
  [2 ** 32 - 1, 512],
  [2 ** 44 - 1, 512],
  [2 ** 44, 512],
  [2n ** 52n, 512],
  // As doubles these would be 2^53 and 2^64, and a byte offset of 2^64 would wrap to 0.
  [2n ** 53n + 1n, 512],
  [2n ** 55n, 512],
  [2n ** 63n, 512],
  [2n ** 64n - 1n, 512],
  [2n ** 64n - 1n, 1024],
].flatMap(([sector, byteLength]): Row[] => [
  {
    what: `a read of ${byteLength} bytes at sector ${sector} of ${CAPACITY_SECTORS}`,
    type: IN,
    sector: sector!,
    parts: [HEADER, readInto(Number(byteLength)), STATUS],
    ...ioError,
  },
  {
    what: `a write of ${byteLength} bytes at sector ${sector} of ${CAPACITY_SECTORS}`,
    type: OUT,
    sector: sector!,
    parts: [HEADER, writeFrom(Number(byteLength)), STATUS],
    ...ioError,
  },
]);

const lastSectors: readonly Row[] = [
  { what: 'a read of the last sector', type: IN, parts: [HEADER, readInto(512), STATUS], ...readOk(63, 512) },
  {
    what: 'a write of the last two sectors',
    type: OUT,
    parts: [HEADER, writeFrom(1024), STATUS],
    ...writeOk(62, inMemory(0, 1024)),
  },
];

const readOnlyRows: readonly Row[] = [
  { what: 'a write', options: readOnly, type: OUT, parts: [HEADER, writeFrom(512), STATUS], ...ioError },
  { what: 'a write of nothing', options: readOnly, type: OUT, parts: [HEADER, STATUS], ...ioError },
  {
    what: 'a discard',
    options: readOnly,
    type: DISCARD,
    ranges: [[0, 8, 0]],
    parts: [HEADER, writeFrom(16), STATUS],
    ...ioError,
  },
  {
    what: 'a write-zeroes',
    options: readOnly,
    type: ZEROES,
    ranges: [[0, 8, 0]],
    parts: [HEADER, writeFrom(16), STATUS],
    ...ioError,
  },
  { what: 'a read', options: readOnly, type: IN, parts: [HEADER, readInto(512), STATUS], ...readOk(1, 512) },
  {
    what: 'a flush',
    options: readOnly,
    type: FLUSH,
    parts: [HEADER, STATUS],
    ...done(BlockOperation.FLUSH),
  },
  {
    what: 'an id',
    options: readOnly,
    type: GET_ID,
    parts: [HEADER, readInto(20), STATUS],
    status: VIRTIO_BLK_S_OK,
    usedLength: 21,
    data: serial('rig-0'),
  },
];

const flushes: readonly Row[] = [
  {
    what: 'a sector',
    type: FLUSH,
    sector: 2n ** 64n - 1n,
    parts: [HEADER, STATUS],
    ...done(BlockOperation.FLUSH),
  },
  {
    what: 'data to read',
    type: FLUSH,
    parts: [HEADER, writeFrom(700), STATUS],
    ...done(BlockOperation.FLUSH),
  },
  {
    what: 'data to fill',
    type: FLUSH,
    parts: [HEADER, readInto(512), STATUS],
    ...done(BlockOperation.FLUSH),
  },
];

const ids: readonly Row[] = [
  ...[0, 1, 19].map((byteLength): Row => ({
    what: `${byteLength} bytes are too few`,
    type: GET_ID,
    parts: [HEADER, readInto(byteLength), STATUS],
    ...ioError,
  })),
  ...[20, 512].map((byteLength): Row => ({
    what: `${byteLength} bytes hold 20, padded with NUL`,
    type: GET_ID,
    parts: [HEADER, readInto(byteLength), STATUS],
    status: VIRTIO_BLK_S_OK,
    usedLength: 21,
    data: serial('rig-0'),
  })),
  {
    what: 'the buffer in three pieces',
    type: GET_ID,
    parts: [HEADER, readInto(3), readInto(2, 3), readInto(15, 5), STATUS],
    status: VIRTIO_BLK_S_OK,
    usedLength: 21,
    data: serial('rig-0'),
  },
  {
    what: 'an id of 20 bytes without a NUL',
    options: { limits: { serial: new TextEncoder().encode('abcdefghijklmnopqrst') } },
    type: GET_ID,
    parts: [HEADER, readInto(20), STATUS],
    status: VIRTIO_BLK_S_OK,
    usedLength: 21,
    data: serial('abcdefghijklmnopqrst'),
  },
  {
    what: 'an id of more than 20 bytes is cut',
    options: { limits: { serial: new TextEncoder().encode('abcdefghijklmnopqrstuvw') } },
    type: GET_ID,
    parts: [HEADER, readInto(64), STATUS],
    status: VIRTIO_BLK_S_OK,
    usedLength: 21,
    data: serial('abcdefghijklmnopqrst'),
  },
  {
    what: 'into a readable buffer',
    type: GET_ID,
    parts: [HEADER, writeFrom(20), STATUS],
    ...ioError,
  },
];

const unknown: readonly Row[] = [
  ...[2, 3, 5, 10, 12, 14, 0x1_0000, 0x7fff_ffff, 0xffff_ffff].map((type): Row => ({
    what: `type 0x${type.toString(16)}`,
    type,
    parts: [HEADER, readInto(512), STATUS],
    ...unsupported,
  })),
  {
    what: 'a discard that is not offered',
    options: { limits: { discard: false } },
    type: DISCARD,
    ranges: [[0, 8, 0]],
    parts: [HEADER, writeFrom(16), STATUS],
    ...unsupported,
  },
  {
    what: 'a write-zeroes that is not offered',
    options: { limits: { writeZeroes: false } },
    type: ZEROES,
    ranges: [[0, 8, 0]],
    parts: [HEADER, writeFrom(16), STATUS],
    ...unsupported,
  },
];

const oneRange: readonly Part[] = [HEADER, writeFrom(16), STATUS];
const bigDisk: RigOptions = { limits: { capacitySectors: 2 ** 40 } };

const rangeRows: readonly Row[] = [
  ...([DISCARD, ZEROES] as const).flatMap((type): Row[] => {
    const name = type === DISCARD ? 'discard' : 'write-zeroes';
    return [
      ...[2, 4, 0x8000_0000, 0xffff_fffe, 3].map((flags): Row => ({
        what: `${name} with unknown flags 0x${flags.toString(16)}`,
        type,
        ranges: [[0, 8, flags]],
        parts: oneRange,
        ...unsupported,
      })),
      { what: `${name} without a range`, type, parts: [HEADER, STATUS], ...ioError },
      ...[1, 15, 17, 24].map((byteLength): Row => ({
        what: `${name} with ${byteLength} bytes of ranges`,
        type,
        ranges: [[0, 8, 0]],
        parts: [HEADER, writeFrom(byteLength), STATUS],
        ...ioError,
      })),
      {
        what: `${name} with its range in a writable buffer`,
        type,
        ranges: [[0, 8, 0]],
        parts: [HEADER, readInto(16), STATUS],
        ...ioError,
      },
      {
        what: `${name} with a writable buffer besides its range`,
        type,
        ranges: [[0, 8, 0]],
        parts: [HEADER, writeFrom(16), readInto(16, 16), STATUS],
        ...ioError,
      },
      {
        what: `${name} with two ranges where one is allowed`,
        type,
        ranges: [
          [0, 8, 0],
          [16, 8, 0],
        ],
        parts: [HEADER, writeFrom(32), STATUS],
        ...unsupported,
      },
      {
        what: `${name} with hundreds of ranges`,
        type,
        parts: [HEADER, writeFrom(8192), STATUS],
        ...unsupported,
      },
      ...(
        [
          [0, 0xffff_ffff],
          [0, CAPACITY_SECTORS + 1],
          [CAPACITY_SECTORS, 1],
          [CAPACITY_SECTORS - 1, 2],
          [CAPACITY_SECTORS + 1, 0],
          [2n ** 32n, 1],
          [2n ** 53n + 1n, 1],
          [2n ** 64n - 1n, 1],
          [2n ** 64n - 1n, 2],
        ] as const
      ).map(([sector, sectors]): Row => ({
        what: `${name} of ${sectors} sectors at ${sector} of ${CAPACITY_SECTORS}`,
        type,
        ranges: [[sector, sectors, 0]],
        parts: oneRange,
        ...ioError,
      })),
      {
        what: `${name} of more than a range may have, on a disk that is large enough`,
        options: bigDisk,
        type,
        ranges: [[0, MAX_RANGE_SECTORS + 1, 0]],
        parts: oneRange,
        ...ioError,
      },
      {
        what: `${name} of no sectors`,
        type,
        ranges: [[8, 0, 0]],
        parts: oneRange,
        status: VIRTIO_BLK_S_OK,
        usedLength: 1,
      },
      {
        what: `${name} of the last sectors`,
        type,
        ranges: [[CAPACITY_SECTORS - 8, 8, 0]],
        parts: oneRange,
        ...done(type === DISCARD ? BlockOperation.DISCARD : BlockOperation.WRITE_ZEROES),
        ...zeroed((CAPACITY_SECTORS - 8) * 512, 8 * 512),
      },
      {
        what: `${name} with its range split over descriptors`,
        type,
        ranges: [[4, 4, 0]],
        parts: [HEADER, writeFrom(5), writeFrom(11, 5), STATUS],
        ...done(type === DISCARD ? BlockOperation.DISCARD : BlockOperation.WRITE_ZEROES),
        ...zeroed(2048, 2048),
      },
    ];
  }),
  {
    what: 'unmap on a discard',
    type: DISCARD,
    ranges: [[0, 8, RANGE_FLAG_UNMAP]],
    parts: oneRange,
    ...unsupported,
  },
  ...[0, RANGE_FLAG_UNMAP].map((flags): Row => ({
    what: `write-zeroes reads as zeroes, unmap flag ${flags}`,
    type: ZEROES,
    ranges: [[10, 20, flags]],
    parts: oneRange,
    ...done(BlockOperation.WRITE_ZEROES),
    ...zeroed(5120, 10240),
  })),
];

const ignored: readonly Row[] = [
  {
    what: 'the reserved header field',
    type: IN,
    reserved: 0xffff_ffff,
    parts: [HEADER, readInto(512), STATUS],
    ...readOk(2, 512),
  },
  {
    what: 'the BARRIER bit of a read',
    type: (IN | VIRTIO_BLK_T_BARRIER) >>> 0,
    parts: [HEADER, readInto(512), STATUS],
    ...readOk(2, 512),
  },
  {
    what: 'the BARRIER bit of a write',
    type: (OUT | VIRTIO_BLK_T_BARRIER) >>> 0,
    parts: [HEADER, writeFrom(512), STATUS],
    ...writeOk(2, inMemory(0, 512)),
  },
  {
    what: 'the BARRIER bit of a flush',
    type: (FLUSH | VIRTIO_BLK_T_BARRIER) >>> 0,
    parts: [HEADER, STATUS],
    ...done(BlockOperation.FLUSH),
  },
];

describe.each(RIGS)('%s', (_way, Rig) => {
  function check(row: Row): void {
    const rig = new Rig(row.options);
    const wantedDisk = rig.device.disk.slice();
    if (row.disk !== undefined) wantedDisk.set(row.disk[1], row.disk[0]);
    rig.writeHeader(row.type, row.sector, row.reserved);
    const view = rig.allocator.view(rig.data, 8192);
    for (const [i, [sector, sectors, flags]] of (row.ranges ?? []).entries()) {
      view.setBigUint64(i * 16, BigInt(sector), true);
      view.setUint32(i * 16 + 8, sectors, true);
      view.setUint32(i * 16 + 12, flags, true);
    }
    rig.writeChain(
      row.parts.map(([place, offset, byteLength, flags = 0], i): RawDescriptor => ({
        address: rig[place] + offset,
        byteLength,
        flags: flags | (i + 1 < row.parts.length ? NEXT : 0),
      })),
    );
    expect(rig.serve(0)).toEqual([{ head: 0, usedLength: row.usedLength }]);
    expect(rig.statusByte).toBe(row.status ?? NO_STATUS);
    expect(rig.device.operations).toEqual(row.operations ?? []);
    expect(firstDifference(rig.device.disk, wantedDisk)).toBe(-1);
    const changed: GuestRange[] = row.status === undefined ? [] : [[rig.status, 1]];
    if (row.data !== undefined) {
      changed.push([rig.data, row.data.length]);
      expect(rig.bytes(rig.data, row.data.length)).toEqual(row.data);
    }
    expect(rig.strayWrites(...changed)).toEqual([]);
    expect(rig.broken).toBe(false);
    if (row.options?.limits?.readOnly !== true && row.options?.limits?.capacitySectors === undefined) {
      expect(rig.stillWorks()).toBe(true);
    }
  }

  describe('no assumption about framing', () => {
    test.each(framing)('$what', check);

    test('header and data in one descriptor', () => {
      const rig = new Rig();
      // The header lies right before the data it writes.
      rig.writeHeader(OUT, 9, 0, rig.data);
      rig.writeChain([
        { address: rig.data, byteLength: 16 + 512, flags: NEXT },
        { address: rig.status, byteLength: 1, flags: WRITE },
      ]);
      expect(rig.serve(0)).toEqual([{ head: 0, usedLength: 1 }]);
      expect(rig.statusByte).toBe(VIRTIO_BLK_S_OK);
      expect(rig.strayWrites([rig.status, 1])).toEqual([]);
      expect(rig.device.disk.slice(9 * 512, 10 * 512)).toEqual(inMemory(16, 512));
      expect(rig.stillWorks()).toBe(true);
    });

    test('the status on the far side of a region border from its data', () => {
      const rig = new Rig();
      rig.writeHeader(IN, 4);
      rig.writeChain([
        { address: rig.header, byteLength: 16, flags: NEXT },
        { address: SECOND_REGION - 512, byteLength: 513, flags: WRITE },
      ]);
      rig.bytes(SECOND_REGION, 1)[0] = NO_STATUS;
      expect(rig.serve(0)).toEqual([{ head: 0, usedLength: 513 }]);
      expect(rig.bytes(SECOND_REGION, 1)[0]).toBe(VIRTIO_BLK_S_OK);
      expect(rig.bytes(SECOND_REGION - 512, 512)).toEqual(onDisk(4 * 512, 512));
      expect(rig.strayWrites([SECOND_REGION - 512, 513])).toEqual([]);
      expect(rig.stillWorks()).toBe(true);
    });

    test('bad and good requests in one batch, each with its own answer', () => {
      const rig = new Rig({ queueSize: 16 });
      rig.writeHeader(IN, 1);
      const statuses = [0, 1, 2].map((i) => rig.status - 15 + i);
      rig.writeChain([
        { address: rig.header, byteLength: 16, flags: NEXT, next: 1 },
        { address: rig.data, byteLength: 100, flags: WRITE | NEXT, next: 2 },
        { address: statuses[0]!, byteLength: 1, flags: WRITE },
        { address: rig.header, byteLength: 16, flags: NEXT, next: 4 },
        { address: rig.data, byteLength: 512, flags: WRITE | NEXT, next: 5 },
        { address: statuses[1]!, byteLength: 1, flags: WRITE },
        { address: rig.header, byteLength: 16, flags: 0 },
      ]);
      expect(rig.serve(0, 6, 3)).toEqual([
        { head: 0, usedLength: 1 },
        { head: 6, usedLength: 0 },
        { head: 3, usedLength: 513 },
      ]);
      expect(rig.bytes(statuses[0]!, 2)).toEqual(Uint8Array.of(VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK));
      expect(rig.strayWrites([statuses[0]!, 2], [rig.data, 512])).toEqual([]);
      expect(rig.stillWorks()).toBe(true);
    });
  });

  describe('a malformed request gets IOERR, or nothing where there is no status byte', () => {
    test.each(malformed)('$what', check);
  });

  describe('beyond the capacity is IOERR', () => {
    test.each(beyond)('$what', check);
    test.each(lastSectors)('up to it is not: $what', check);

    test('more than 2 GiB in one request, through descriptors that name the same memory', () => {
      const pieceBytes = 2 ** 22;
      const allocator = new GuestAllocator([{ guestAddress: 0, buffer: new ArrayBuffer(2 * pieceBytes) }]);
      const addresses = allocator.allocateQueue(1024);
      const [header, status, piece] = [
        allocator.allocate(16),
        allocator.allocate(1),
        allocator.allocate(pieceBytes),
      ];
      const queue = new Virtqueue(allocator.memory, addresses, { indirect: false, eventIdx: false });
      const driver = new DriverQueue(allocator.memory, addresses, { eventIdx: false });
      const parser = new RequestParser({
        capacitySectors: 2 ** 40,
        readOnly: false,
        discard: false,
        writeZeroes: false,
        serial: new Uint8Array(0),
      });
      allocator.view(header, 16).setUint32(0, OUT, true);
      const settledWith = (pieces: number, last: number): number => {
        const data = Array.from({ length: pieces }, (_, i) => ({
          address: piece,
          byteLength: i + 1 < pieces ? pieceBytes : last,
          writable: false,
        }));
        driver.add([
          { address: header, byteLength: 16, writable: false },
          ...data,
          { address: status, byteLength: 1, writable: true },
        ]);
        driver.publish();
        const request = new BlockRequest();
        expect(queue.pop(request)).toBe(Popped.CHAIN);
        parser.parse(request, true);
        queue.push(request.head, 1);
        queue.publish();
        driver.takeUsed();
        return request.settled;
      };
      expect(settledWith(512, pieceBytes - 512)).toBe(-1);
      expect(settledWith(512, pieceBytes)).toBe(VIRTIO_BLK_S_IOERR);
      expect(settledWith(1022, pieceBytes)).toBe(VIRTIO_BLK_S_IOERR);
    });
  });

  describe('a read-only disk: what changes it is IOERR, the rest works', () => {
    test.each(readOnlyRows)('$what', check);
  });

  describe('a flush ignores what comes with it', () => {
    test.each(flushes)('$what', check);
  });

  describe('the id', () => {
    test.each(ids)('$what', check);
  });

  describe('what is unknown or not offered is UNSUPP', () => {
    test.each(unknown)('$what', check);
  });

  describe('discard and write-zeroes', () => {
    test.each(rangeRows)('$what', check);
  });

  describe('ignored', () => {
    test.each(ignored)('$what', check);
  });
});

test('a range at a sector above 2^32 is placed exactly', () => {
  const rig = new BlockRig();
  const parser = new RequestParser({
    capacitySectors: 2 ** 44,
    readOnly: false,
    discard: true,
    writeZeroes: true,
    serial: new Uint8Array(0),
  });
  rig.writeHeader(ZEROES);
  const view = rig.allocator.view(rig.data, 16);
  view.setBigUint64(0, 2n ** 44n - 3n, true);
  view.setUint32(8, 3, true);
  view.setUint32(12, RANGE_FLAG_UNMAP, true);
  rig.writeChain([
    { address: rig.header, byteLength: 16, flags: NEXT },
    { address: rig.data, byteLength: 16, flags: NEXT },
    { address: rig.status, byteLength: 1, flags: WRITE },
  ]);
  rig.driver.makeAvailable(0);
  rig.driver.publish();
  const request = new BlockRequest();
  expect(rig.queue.pop(request)).toBe(Popped.CHAIN);
  parser.parse(request, true);
  expect(request).toMatchObject({
    settled: -1,
    operation: BlockOperation.WRITE_ZEROES,
    rangeCount: 1,
    rangePositions: [(2 ** 44 - 3) * 512],
    rangeLengths: [1536],
    rangeUnmaps: [1],
  });
});
