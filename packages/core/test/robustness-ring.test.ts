import {
  GuestMemory,
  MAX_CHAIN_DESCRIPTORS,
  MAX_QUEUE_SIZE,
  Popped,
  BlockRequest,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_STATUS_ACKNOWLEDGE,
  VIRTIO_STATUS_DRIVER,
  VIRTIO_STATUS_DRIVER_OK,
  VIRTIO_STATUS_FEATURES_OK,
  VIRTIO_STATUS_NEEDS_RESET,
  VirtioBlkDevice,
  VirtioError,
  VIRTQ_DESC_F_INDIRECT,
  Virtqueue,
  type VirtqueueAddresses,
} from '@iothreads/core';
import { startDevice } from '@iothreads/core/testing';
import { describe, expect, test } from 'vitest';
import {
  BlockRig,
  RIGS,
  diskPattern,
  FIRST_REGION,
  HOLE,
  NEXT,
  NO_STATUS,
  pattern,
  type RawDescriptor,
  REGION_BYTES,
  type RigOptions,
  SECOND_REGION,
  WRITE,
} from './support/block-rig.js';
import { firstDifference } from './support/first-difference.js';
import type { GuestRange } from './support/memory-snapshot.js';

const INDIRECT = VIRTQ_DESC_F_INDIRECT;

const headerOf = (rig: BlockRig, flags: number = NEXT): RawDescriptor => ({
  address: rig.header,
  byteLength: 16,
  flags,
});
const dataOf = (rig: BlockRig, flags: number, byteLength: number = 512): RawDescriptor => ({
  address: rig.data,
  byteLength,
  flags,
});
const statusOf = (rig: BlockRig, flags: number = WRITE): RawDescriptor => ({
  address: rig.status,
  byteLength: 1,
  flags,
});
const tableOf = (rig: BlockRig, count: number, flags: number = INDIRECT): RawDescriptor => ({
  address: rig.table,
  byteLength: count * 16,
  flags,
});

describe('a ring that can not be trusted breaks the queue', () => {
  const expectBroken = (rig: BlockRig): void => {
    expect(rig.queue.broken).toBe(true);
    // The avail ring is the driver's own.
    expect(rig.strayWrites([rig.addresses.availRing, 4])).toEqual([]);
    expect(rig.device.served).toBe(0);
    // Nothing is consumed any more, whatever the driver does to put it right.
    rig.availIdx = 1;
    expect(rig.queue.available()).toBe(0);
    expect(rig.queue.pop(new BlockRequest())).toBe(Popped.BROKEN);
    expect(rig.queue.enableNotifications()).toBe(false);
    // ... until it is made anew.
    rig.availIdx = 0;
    rig.driver.ring.used16[1] = 0;
    const again = new Virtqueue(rig.allocator.memory, rig.addresses, { indirect: true, eventIdx: false });
    expect(again.pop(new BlockRequest())).toBe(Popped.NONE);
    expect(again.broken).toBe(false);
  };

  test.each([9, 0x7fff, 0x8000, 0xffff])('avail.idx %i ahead in a ring of 8', (ahead) => {
    const rig = new BlockRig();
    rig.serve();
    rig.availIdx = ahead;
    rig.device.run();
    expectBroken(rig);
  });

  test('avail.idx jumps while earlier chains are still to be popped', () => {
    const rig = new BlockRig();
    rig.serve();
    rig.availIdx = 2;
    rig.writeChain([headerOf(rig, 0)]);
    const chain = new BlockRequest();
    expect(rig.queue.pop(chain)).toBe(Popped.CHAIN);
    rig.queue.push(chain.head, 0);
    rig.availIdx = 200;
    expect(rig.queue.available()).toBe(199);
    expect(rig.queue.pop(chain)).toBe(Popped.BROKEN);
  });

  test('avail.idx exactly the queue size ahead is a full ring, not a broken one', () => {
    const rig = new BlockRig({ queueSize: 8 });
    rig.writeHeader(VIRTIO_BLK_T_IN);
    for (let head = 0; head < 8; head++) rig.driver.writeDescriptor(head, rig.status, 1, WRITE);
    expect(rig.serve(0, 1, 2, 3, 4, 5, 6, 7)).toHaveLength(8);
    expect(rig.queue.broken).toBe(false);
    expect(rig.stillWorks()).toBe(true);
  });

  test.each([8, 9, 0xffff])('head %i in a ring of 8', (head) => {
    const rig = new BlockRig();
    expect(rig.serve(head)).toEqual([]);
    expectBroken(rig);
  });

  test('a head that is still in flight', () => {
    const rig = new BlockRig();
    rig.writeHeader(VIRTIO_BLK_T_IN);
    rig.writeChain([headerOf(rig), dataOf(rig, WRITE | NEXT), statusOf(rig)]);
    rig.driver.makeAvailable(0);
    rig.driver.makeAvailable(0);
    rig.driver.publish();
    const [first, second] = [new BlockRequest(), new BlockRequest()];
    expect(rig.queue.pop(first)).toBe(Popped.CHAIN);
    expect(rig.queue.pop(second)).toBe(Popped.BROKEN);
    // What was in flight can still be given back.
    expect(rig.queue.inFlight).toBe(1);
    rig.queue.push(first.head, 1);
    rig.queue.publish();
    expect(rig.queue.inFlight).toBe(0);
    expect(rig.driver.takeUsed()).toBe(0);
    expect(rig.queue.pop(second)).toBe(Popped.BROKEN);
  });
});

/** A chain, the answer to it, and what may have changed in guest memory besides. */
interface Row {
  readonly what: string;
  readonly options?: RigOptions;
  readonly type?: number;
  readonly build: (rig: BlockRig) => readonly RawDescriptor[];
  /** undefined: the request's own status byte must not be touched. */
  readonly status?: number;
  readonly usedLength: number;
  readonly changed?: (rig: BlockRig) => GuestRange[];
}

const ioError = { status: VIRTIO_BLK_S_IOERR, usedLength: 1 };
const lost = { usedLength: 0 };
const OUT = VIRTIO_BLK_T_OUT;

const failed: readonly Row[] = [
  {
    what: 'next beyond the table, no status byte seen',
    build: (rig) => [{ ...headerOf(rig), next: 8 }],
    ...lost,
  },
  {
    what: 'next 65535, a status byte seen',
    build: (rig) => [headerOf(rig), { ...statusOf(rig, WRITE | NEXT), next: 0xffff }],
    ...ioError,
  },
  {
    what: 'a loop of readable descriptors',
    build: (rig) => [headerOf(rig), { ...dataOf(rig, NEXT), next: 0 }],
    ...lost,
  },
  { what: 'a descriptor that is its own next', build: (rig) => [{ ...headerOf(rig), next: 0 }], ...lost },
  {
    what: 'a loop of writable descriptors behind a header',
    build: (rig) => [headerOf(rig), { ...statusOf(rig, WRITE | NEXT), next: 1 }],
    ...ioError,
  },
  {
    what: 'a loop back to the header',
    build: (rig) => [headerOf(rig), { ...statusOf(rig, WRITE | NEXT), next: 0 }],
    ...ioError,
  },
  {
    what: 'a loop in an indirect table',
    build: (rig) => {
      rig.writeTable([headerOf(rig), { ...statusOf(rig, WRITE | NEXT), next: 1 }]);
      return [tableOf(rig, 2)];
    },
    ...ioError,
  },
  {
    what: 'next beyond an indirect table',
    build: (rig) => {
      rig.writeTable([headerOf(rig), { ...statusOf(rig, WRITE | NEXT), next: 2 }, statusOf(rig)]);
      return [tableOf(rig, 2)];
    },
    ...ioError,
  },
  {
    what: 'next at the end of an indirect table, a descriptor of no table behind it',
    build: (rig) => {
      rig.writeTable([{ ...headerOf(rig), next: 2 }, headerOf(rig), statusOf(rig)]);
      return [tableOf(rig, 2)];
    },
    ...lost,
  },
  {
    what: 'data in a hole before a sound indirect table',
    build: (rig) => {
      rig.writeTable([statusOf(rig)]);
      return [headerOf(rig), { address: HOLE, byteLength: 512, flags: WRITE | NEXT }, tableOf(rig, 1)];
    },
    ...ioError,
  },
  {
    what: 'a readable descriptor after a writable one, the status behind it',
    build: (rig) => [headerOf(rig), dataOf(rig, WRITE | NEXT), dataOf(rig, NEXT), statusOf(rig)],
    ...ioError,
  },
  {
    what: 'a readable descriptor after the status',
    type: OUT,
    build: (rig) => [headerOf(rig), statusOf(rig, WRITE | NEXT), dataOf(rig, 0)],
    ...ioError,
  },
  {
    what: 'a readable descriptor after a writable one in an indirect table',
    build: (rig) => {
      rig.writeTable([headerOf(rig), dataOf(rig, WRITE | NEXT), dataOf(rig, NEXT), statusOf(rig)]);
      return [tableOf(rig, 4)];
    },
    ...ioError,
  },
  {
    what: 'a readable descriptor in a table after a writable one before it',
    build: (rig) => {
      rig.writeTable([dataOf(rig, NEXT), statusOf(rig)]);
      return [headerOf(rig), dataOf(rig, WRITE | NEXT), tableOf(rig, 2)];
    },
    ...ioError,
  },
  ...(
    [
      ['in a hole', HOLE, 512],
      ['below memory', 0, 512],
      ['that runs from memory into a hole', HOLE - 256, 512],
      ['that runs from a hole into memory', FIRST_REGION - 256, 512],
      ['far above memory', 2 ** 52, 512],
      ['above 2^53', 2n ** 53n, 512],
      ['that wraps 2^64 to the start of memory', 2n ** 64n - 256n, FIRST_REGION + 512],
      ['at the very end of 64 bits', 2n ** 64n - 1n, 1024],
      ['of 4 GiB', FIRST_REGION, 0xffff_fe00],
    ] as const
  ).flatMap(([where, address, byteLength]): Row[] => [
    {
      what: `data to fill ${where}`,
      build: (rig) => [headerOf(rig), { address, byteLength, flags: WRITE | NEXT }, statusOf(rig)],
      ...ioError,
    },
    {
      what: `data to write ${where}`,
      type: OUT,
      build: (rig) => [headerOf(rig), { address, byteLength, flags: NEXT }, statusOf(rig)],
      ...ioError,
    },
    {
      what: `data in a table ${where}`,
      build: (rig) => {
        rig.writeTable([headerOf(rig), { address, byteLength, flags: WRITE | NEXT }, statusOf(rig)]);
        return [tableOf(rig, 3)];
      },
      ...ioError,
    },
    {
      what: `a header ${where}`,
      build: (rig) => [{ address, byteLength, flags: NEXT }, statusOf(rig)],
      ...ioError,
    },
    {
      what: `a status byte ${where}`,
      build: (rig) => [headerOf(rig), dataOf(rig, WRITE | NEXT), { address, byteLength, flags: WRITE }],
      ...lost,
    },
  ]),
  {
    what: 'a nested indirect table after a status byte',
    build: (rig) => {
      rig.writeTable([headerOf(rig), statusOf(rig, WRITE | NEXT), tableOf(rig, 1, INDIRECT)]);
      return [tableOf(rig, 3)];
    },
    ...ioError,
  },
  {
    what: 'a nested indirect table',
    build: (rig) => {
      rig.writeTable([tableOf(rig, 1, INDIRECT)]);
      return [tableOf(rig, 1)];
    },
    ...lost,
  },
  ...[0, 8, 17, 47].flatMap((byteLength): Row[] => [
    {
      what: `an indirect table of ${byteLength} bytes`,
      build: (rig) => {
        rig.writeTable([headerOf(rig), dataOf(rig, WRITE | NEXT), statusOf(rig)]);
        return [{ ...tableOf(rig, 3), byteLength }];
      },
      ...lost,
    },
    {
      what: `an indirect table of ${byteLength} bytes behind a status byte`,
      build: (rig) => [headerOf(rig), statusOf(rig, WRITE | NEXT), { ...tableOf(rig, 3), byteLength }],
      ...ioError,
    },
  ]),
  {
    what: 'an indirect descriptor with NEXT',
    build: (rig) => {
      rig.writeTable([headerOf(rig), dataOf(rig, WRITE)]);
      return [tableOf(rig, 2, INDIRECT | NEXT), statusOf(rig)];
    },
    ...lost,
  },
  ...(
    [
      ['in a hole', HOLE],
      ['that runs into a hole', HOLE - 16],
      ['above 2^53', 2n ** 53n],
      ['that wraps 2^64', 2n ** 64n - 16n],
    ] as const
  ).map(([where, address]): Row => ({
    what: `an indirect table ${where}`,
    build: (rig) => {
      if (address === HOLE - 16) rig.writeTable([headerOf(rig)], address);
      return [{ ...tableOf(rig, 3), address }];
    },
    ...lost,
  })),
  {
    what: 'an indirect table that was not negotiated',
    options: { indirect: false },
    build: (rig) => {
      rig.writeTable([headerOf(rig), dataOf(rig, WRITE | NEXT), statusOf(rig)]);
      return [tableOf(rig, 3)];
    },
    ...lost,
  },
  {
    what: 'one descriptor more than the bound in a ring that has room for it',
    options: { queueSize: 2048 },
    type: OUT,
    build: (rig) => longChain(rig, MAX_CHAIN_DESCRIPTORS + 1),
    ...lost,
  },
  {
    what: 'one descriptor more than the bound through an indirect table',
    type: OUT,
    build: (rig) => {
      rig.writeTable(longChain(rig, MAX_CHAIN_DESCRIPTORS + 1));
      return [tableOf(rig, MAX_CHAIN_DESCRIPTORS + 1)];
    },
    ...lost,
  },
  {
    what: 'one descriptor more than the bound, direct ones counted',
    type: OUT,
    build: (rig) => {
      rig.writeTable(longChain(rig, MAX_CHAIN_DESCRIPTORS + 1).slice(1));
      return [headerOf(rig), tableOf(rig, MAX_CHAIN_DESCRIPTORS)];
    },
    ...lost,
  },
];

/** A write of 8 KiB - and a few bytes of a second round - in so many descriptors that never adjoin their neighbours. */
function longChain(rig: BlockRig, count: number): RawDescriptor[] {
  const pieces = count - 2;
  return [
    headerOf(rig),
    ...Array.from({ length: pieces }, (_, i) => ({
      address: rig.data + (1023 - (i % 1024)) * 8,
      byteLength: 8,
      flags: NEXT,
    })),
    statusOf(rig),
  ];
}

describe.each(RIGS)('%s', (_way, Rig) => {
  describe('a chain that breaks the rules fails alone', () => {
    test.each(failed)('$what', ({ options, type = VIRTIO_BLK_T_IN, build, status, usedLength }) => {
      const rig = new Rig(options);
      const disk = rig.device.disk.slice();
      rig.writeHeader(type);
      rig.writeChain(build(rig));
      expect(rig.serve(0)).toEqual([{ head: 0, usedLength }]);
      expect(rig.statusByte).toBe(status ?? NO_STATUS);
      expect(rig.strayWrites(...(status === undefined ? [] : [[rig.status, 1] as const]))).toEqual([]);
      expect(rig.device.operations).toEqual([]);
      expect(firstDifference(rig.device.disk, disk)).toBe(-1);
      expect(rig.broken).toBe(false);
      expect(rig.inFlight).toBe(0);
      expect(rig.stillWorks()).toBe(true);
    });
  });

  describe('what looks odd and is right works', () => {
    const expectRead = (rig: BlockRig, address: number, byteLength: number): void => {
      const wanted = Uint8Array.from({ length: byteLength }, (_, i) => diskPattern(i));
      const got = Uint8Array.from(wanted, (_, i) => rig.bytes(address + i, 1)[0]!);
      expect(got).toEqual(wanted);
      expect(rig.strayWrites([rig.status, 1], [address, byteLength])).toEqual([]);
      expect(rig.statusByte).toBe(VIRTIO_BLK_S_OK);
      expect(rig.stillWorks()).toBe(true);
    };

    test.each([1, 255, 256, 511])(
      'a read into a buffer that spans adjoining regions, %i bytes before',
      (before) => {
        const rig = new Rig();
        const address = SECOND_REGION - before;
        rig.writeHeader(VIRTIO_BLK_T_IN);
        rig.writeChain([headerOf(rig), { address, byteLength: 512, flags: WRITE | NEXT }, statusOf(rig)]);
        expect(rig.serve(0)).toEqual([{ head: 0, usedLength: 513 }]);
        expectRead(rig, address, 512);
      },
    );

    test('a write from a buffer that spans adjoining regions', () => {
      const rig = new Rig();
      const address = SECOND_REGION - 100;
      for (let i = 0; i < 512; i++) rig.bytes(address + i, 1)[0] = pattern(i);
      rig.writeHeader(VIRTIO_BLK_T_OUT, 3);
      rig.writeChain([headerOf(rig), { address, byteLength: 512, flags: NEXT }, statusOf(rig)]);
      expect(rig.serve(0)).toEqual([{ head: 0, usedLength: 1 }]);
      expect(rig.strayWrites([rig.status, 1])).toEqual([]);
      expect(rig.device.disk.slice(3 * 512, 4 * 512)).toEqual(
        Uint8Array.from({ length: 512 }, (_, i) => pattern(i)),
      );
      expect(rig.stillWorks()).toBe(true);
    });

    test('a header that spans adjoining regions', () => {
      const rig = new Rig();
      const address = SECOND_REGION - 16 + 7;
      rig.writeHeader(VIRTIO_BLK_T_IN);
      for (let i = 0; i < 16; i++) rig.bytes(address + i, 1)[0] = rig.bytes(rig.header + i, 1)[0]!;
      rig.writeChain([{ address, byteLength: 16, flags: NEXT }, dataOf(rig, WRITE | NEXT), statusOf(rig)]);
      expect(rig.serve(0)).toEqual([{ head: 0, usedLength: 513 }]);
      expectRead(rig, rig.data, 512);
    });

    test('an indirect table that spans adjoining regions, a descriptor on the border included', () => {
      const rig = new Rig();
      const address = SECOND_REGION - 24;
      rig.writeHeader(VIRTIO_BLK_T_IN);
      rig.writeTable([headerOf(rig), dataOf(rig, WRITE | NEXT), statusOf(rig)], address);
      rig.writeChain([{ address, byteLength: 48, flags: INDIRECT }]);
      expect(rig.serve(0)).toEqual([{ head: 0, usedLength: 513 }]);
      expectRead(rig, rig.data, 512);
    });

    test('zero-length descriptors are skipped, wherever they are and wherever they point', () => {
      const rig = new Rig({ queueSize: 16 });
      rig.writeHeader(VIRTIO_BLK_T_IN);
      rig.writeChain([
        { address: 2n ** 64n - 1n, byteLength: 0, flags: NEXT },
        headerOf(rig),
        { address: HOLE, byteLength: 0, flags: NEXT },
        { address: HOLE, byteLength: 0, flags: WRITE | NEXT },
        dataOf(rig, WRITE | NEXT),
        { address: 0, byteLength: 0, flags: NEXT | WRITE },
        statusOf(rig, WRITE | NEXT),
        { address: rig.data, byteLength: 0, flags: WRITE },
      ]);
      expect(rig.serve(0)).toEqual([{ head: 0, usedLength: 513 }]);
      // The readable one between two writable ones has no bytes and so no direction.
      expectRead(rig, rig.data, 512);
    });

    test('a chain of nothing but zero-length descriptors has no status byte', () => {
      const rig = new Rig();
      rig.writeChain([
        { address: rig.header, byteLength: 0, flags: NEXT },
        { address: rig.status, byteLength: 0, flags: WRITE },
      ]);
      expect(rig.serve(0)).toEqual([{ head: 0, usedLength: 0 }]);
      expect(rig.strayWrites()).toEqual([]);
      expect(rig.stillWorks()).toBe(true);
    });

    test('the WRITE flag on an indirect descriptor is ignored', () => {
      const rig = new Rig();
      rig.writeHeader(VIRTIO_BLK_T_IN);
      rig.writeTable([headerOf(rig), dataOf(rig, WRITE | NEXT), statusOf(rig)]);
      rig.writeChain([tableOf(rig, 3, INDIRECT | WRITE)]);
      expect(rig.serve(0)).toEqual([{ head: 0, usedLength: 513 }]);
      expectRead(rig, rig.data, 512);
    });

    test.each([1, 2])('%i direct descriptors followed by an indirect one', (direct) => {
      const rig = new Rig();
      const chain = [headerOf(rig), dataOf(rig, WRITE | NEXT), statusOf(rig)];
      rig.writeHeader(VIRTIO_BLK_T_IN);
      rig.writeTable(chain.slice(direct));
      rig.writeChain([...chain.slice(0, direct), tableOf(rig, 3 - direct)]);
      expect(rig.serve(0)).toEqual([{ head: 0, usedLength: 513 }]);
      expectRead(rig, rig.data, 512);
    });

    test('a chain as long as the ring', () => {
      const rig = new Rig({ queueSize: 8 });
      rig.writeHeader(VIRTIO_BLK_T_IN);
      rig.writeChain([
        headerOf(rig),
        ...Array.from({ length: 6 }, (_, i) => ({
          address: rig.data + i * 512,
          byteLength: 512,
          flags: WRITE | NEXT,
        })),
        statusOf(rig),
      ]);
      expect(rig.serve(0)).toEqual([{ head: 0, usedLength: 6 * 512 + 1 }]);
      expectRead(rig, rig.data, 6 * 512);
    });

    test('an indirect chain of the most descriptors, in a ring of 8', () => {
      const rig = new Rig({ queueSize: 8 });
      rig.writeHeader(VIRTIO_BLK_T_OUT, 2);
      rig.writeTable(longChain(rig, MAX_CHAIN_DESCRIPTORS));
      rig.writeChain([tableOf(rig, MAX_CHAIN_DESCRIPTORS)]);
      expect(rig.serve(0)).toEqual([{ head: 0, usedLength: 1 }]);
      expect(rig.statusByte).toBe(VIRTIO_BLK_S_OK);
      expect(rig.strayWrites([rig.status, 1])).toEqual([]);
      const wanted = Uint8Array.from({ length: 8192 }, (_, i) => pattern((1023 - (i >> 3)) * 8 + (i & 7)));
      expect(firstDifference(rig.device.disk.subarray(1024, 1024 + 8192), wanted)).toBe(-1);
      expect(rig.stillWorks()).toBe(true);
    });

    test('spurious runs of the device, without anything available, change nothing', () => {
      const rig = new Rig();
      expect(rig.serve()).toEqual([]);
      expect(rig.serve()).toEqual([]);
      expect(rig.strayWrites()).toEqual([]);
      expect(rig.device.interrupts).toBe(0);
      expect(rig.stillWorks()).toBe(true);
    });
  });
});

describe('rings are checked before they are served', () => {
  const memory = new GuestMemory([
    { guestAddress: FIRST_REGION, buffer: new ArrayBuffer(REGION_BYTES) },
    { guestAddress: SECOND_REGION, buffer: new ArrayBuffer(REGION_BYTES) },
  ]);
  const good: VirtqueueAddresses = {
    size: 8,
    descriptorTable: FIRST_REGION,
    availRing: FIRST_REGION + 0x1000,
    usedRing: FIRST_REGION + 0x2000,
  };
  const refusals: readonly [what: string, code: string, addresses: VirtqueueAddresses][] = [
    ['size 0', 'ERR_QUEUE_SIZE', { ...good, size: 0 }],
    ['size 3', 'ERR_QUEUE_SIZE', { ...good, size: 3 }],
    ['a negative size', 'ERR_QUEUE_SIZE', { ...good, size: -8 }],
    ['half a descriptor', 'ERR_QUEUE_SIZE', { ...good, size: 0.5 }],
    ['size NaN', 'ERR_QUEUE_SIZE', { ...good, size: NaN }],
    ['a size above the maximum', 'ERR_QUEUE_SIZE', { ...good, size: 32 }],
    ['a size above what 16 bits allow', 'ERR_QUEUE_SIZE', { ...good, size: MAX_QUEUE_SIZE * 2 }],
    ['a misaligned descriptor table', 'ERR_QUEUE_ADDRESS', { ...good, descriptorTable: FIRST_REGION + 8 }],
    ['a misaligned avail ring', 'ERR_QUEUE_ADDRESS', { ...good, availRing: FIRST_REGION + 1 }],
    ['a misaligned used ring', 'ERR_QUEUE_ADDRESS', { ...good, usedRing: FIRST_REGION + 2 }],
    ['a descriptor table outside memory', 'ERR_QUEUE_ADDRESS', { ...good, descriptorTable: 0 }],
    ['an avail ring outside memory', 'ERR_QUEUE_ADDRESS', { ...good, availRing: HOLE }],
    ['a used ring outside memory', 'ERR_QUEUE_ADDRESS', { ...good, usedRing: 2 ** 40 }],
    ['a used ring beyond 2^53', 'ERR_QUEUE_ADDRESS', { ...good, usedRing: 2 ** 60 }],
    [
      'a descriptor table across the end of a region',
      'ERR_QUEUE_ADDRESS',
      { ...good, descriptorTable: HOLE - 64 },
    ],
    ['an avail ring across the end of a region', 'ERR_QUEUE_ADDRESS', { ...good, availRing: HOLE - 20 }],
    ['a used ring across the end of a region', 'ERR_QUEUE_ADDRESS', { ...good, usedRing: HOLE - 68 }],
  ];

  test.each(refusals)('%s is refused at activation', (_, code, addresses) => {
    let activations = 0;
    let resets = 0;
    const device = new VirtioBlkDevice(
      {
        capacitySectors: 64,
        numQueues: 2,
        queueSize: 16,
        logicalBlockSize: 512,
        discard: false,
        writeZeroes: false,
        readOnly: false,
      },
      memory,
      {
        activate: () => activations++,
        reset: () => resets++,
        writebackChanged: () => {},
        startRefused: () => {},
      },
    );
    expect(() => startDevice(device, [good, addresses])).toThrow('queue 1');
    expect(device.status & VIRTIO_STATUS_NEEDS_RESET).not.toBe(0);
    expect(device.refusal).toMatch(/queue 1: /);
    expect(activations).toBe(0);
    expect(() => new Virtqueue(memory, addresses, { indirect: true, eventIdx: true, maxSize: 16 })).toThrow(
      expect.objectContaining({ code, constructor: VirtioError }),
    );
    // A reset puts it right: nobody was serving, so nobody is asked to stop.
    device.writeStatus(0);
    expect(device.status).toBe(0);
    expect(resets).toBe(0);
    startDevice(device, [good]);
    expect(activations).toBe(1);
  });

  test('rings that end exactly where the region ends are served', () => {
    for (const fitting of [
      { ...good, descriptorTable: HOLE - 8 * 16 },
      { ...good, availRing: HOLE - (6 + 2 * 8) },
      { ...good, usedRing: HOLE - (6 + 8 * 8) - 2 },
    ]) {
      expect(new Virtqueue(memory, fitting, { indirect: true, eventIdx: true }).size).toBe(8);
    }
  });

  test('status bits are cleared by a reset only, and features are frozen after FEATURES_OK', () => {
    const device = new VirtioBlkDevice(
      {
        capacitySectors: 64,
        numQueues: 1,
        queueSize: 16,
        logicalBlockSize: 512,
        discard: false,
        writeZeroes: false,
        readOnly: false,
      },
      memory,
      { activate: () => {}, reset: () => {}, writebackChanged: () => {}, startRefused: () => {} },
    );
    startDevice(device, [good]);
    const { status, driverFeatures } = device;
    for (const bit of [
      VIRTIO_STATUS_ACKNOWLEDGE,
      VIRTIO_STATUS_DRIVER,
      VIRTIO_STATUS_FEATURES_OK,
      VIRTIO_STATUS_DRIVER_OK,
    ]) {
      device.writeStatus(status & ~bit);
      expect(device.status).toBe(status);
      expect(device.refusal).toMatch(/cleared/);
    }
    device.writeDriverFeatures(0n);
    expect(device.driverFeatures).toBe(driverFeatures);
    expect(device.refusal).toMatch(/features/);
  });
});
