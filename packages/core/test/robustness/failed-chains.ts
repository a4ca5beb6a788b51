import { MAX_CHAIN_DESCRIPTORS, VIRTIO_BLK_T_OUT } from '@iothreads/core';
import { FIRST_REGION, HOLE, type HostileGuest, NEXT, type RawDescriptor, WRITE } from './hostile-guest.js';
import { dataOf, headerOf, INDIRECT, ioError, lost, type Row, statusOf, tableOf } from './row.js';

const OUT = VIRTIO_BLK_T_OUT;

/** Chains that break the rules: each fails alone. */
export const failedChains: readonly Row[] = [
  {
    what: 'next beyond the table, no status byte seen',
    build: (guest) => [{ ...headerOf(guest), next: 8 }],
    ...lost,
  },
  {
    what: 'next 65535, a status byte seen',
    build: (guest) => [headerOf(guest), { ...statusOf(guest, WRITE | NEXT), next: 0xffff }],
    ...ioError,
  },
  {
    what: 'a loop of readable descriptors',
    build: (guest) => [headerOf(guest), { ...dataOf(guest, NEXT), next: 0 }],
    ...lost,
  },
  { what: 'a descriptor that is its own next', build: (guest) => [{ ...headerOf(guest), next: 0 }], ...lost },
  {
    what: 'a loop of writable descriptors behind a header',
    build: (guest) => [headerOf(guest), { ...statusOf(guest, WRITE | NEXT), next: 1 }],
    ...ioError,
  },
  {
    what: 'a loop back to the header',
    build: (guest) => [headerOf(guest), { ...statusOf(guest, WRITE | NEXT), next: 0 }],
    ...ioError,
  },
  {
    what: 'a loop in an indirect table',
    build: (guest) => {
      guest.writeTable([headerOf(guest), { ...statusOf(guest, WRITE | NEXT), next: 1 }]);
      return [tableOf(guest, 2)];
    },
    ...ioError,
  },
  {
    what: 'next beyond an indirect table',
    build: (guest) => {
      guest.writeTable([headerOf(guest), { ...statusOf(guest, WRITE | NEXT), next: 2 }, statusOf(guest)]);
      return [tableOf(guest, 2)];
    },
    ...ioError,
  },
  {
    what: 'next at the end of an indirect table, a descriptor of no table behind it',
    build: (guest) => {
      guest.writeTable([{ ...headerOf(guest), next: 2 }, headerOf(guest), statusOf(guest)]);
      return [tableOf(guest, 2)];
    },
    ...lost,
  },
  {
    what: 'data in a hole before a sound indirect table',
    build: (guest) => {
      guest.writeTable([statusOf(guest)]);
      return [headerOf(guest), { address: HOLE, byteLength: 512, flags: WRITE | NEXT }, tableOf(guest, 1)];
    },
    ...ioError,
  },
  {
    what: 'a readable descriptor after a writable one, the status behind it',
    build: (guest) => [headerOf(guest), dataOf(guest, WRITE | NEXT), dataOf(guest, NEXT), statusOf(guest)],
    ...ioError,
  },
  {
    what: 'a readable descriptor after the status',
    type: OUT,
    build: (guest) => [headerOf(guest), statusOf(guest, WRITE | NEXT), dataOf(guest, 0)],
    ...ioError,
  },
  {
    what: 'a readable descriptor after a writable one in an indirect table',
    build: (guest) => {
      guest.writeTable([headerOf(guest), dataOf(guest, WRITE | NEXT), dataOf(guest, NEXT), statusOf(guest)]);
      return [tableOf(guest, 4)];
    },
    ...ioError,
  },
  {
    what: 'a readable descriptor in a table after a writable one before it',
    build: (guest) => {
      guest.writeTable([dataOf(guest, NEXT), statusOf(guest)]);
      return [headerOf(guest), dataOf(guest, WRITE | NEXT), tableOf(guest, 2)];
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
      build: (guest) => [headerOf(guest), { address, byteLength, flags: WRITE | NEXT }, statusOf(guest)],
      ...ioError,
    },
    {
      what: `data to write ${where}`,
      type: OUT,
      build: (guest) => [headerOf(guest), { address, byteLength, flags: NEXT }, statusOf(guest)],
      ...ioError,
    },
    {
      what: `data in a table ${where}`,
      build: (guest) => {
        guest.writeTable([headerOf(guest), { address, byteLength, flags: WRITE | NEXT }, statusOf(guest)]);
        return [tableOf(guest, 3)];
      },
      ...ioError,
    },
    {
      what: `a header ${where}`,
      build: (guest) => [{ address, byteLength, flags: NEXT }, statusOf(guest)],
      ...ioError,
    },
    {
      what: `a status byte ${where}`,
      build: (guest) => [headerOf(guest), dataOf(guest, WRITE | NEXT), { address, byteLength, flags: WRITE }],
      ...lost,
    },
  ]),
  {
    what: 'a nested indirect table after a status byte',
    build: (guest) => {
      guest.writeTable([headerOf(guest), statusOf(guest, WRITE | NEXT), tableOf(guest, 1, INDIRECT)]);
      return [tableOf(guest, 3)];
    },
    ...ioError,
  },
  {
    what: 'a nested indirect table',
    build: (guest) => {
      guest.writeTable([tableOf(guest, 1, INDIRECT)]);
      return [tableOf(guest, 1)];
    },
    ...lost,
  },
  ...[0, 8, 17, 47].flatMap((byteLength): Row[] => [
    {
      what: `an indirect table of ${byteLength} bytes`,
      build: (guest) => {
        guest.writeTable([headerOf(guest), dataOf(guest, WRITE | NEXT), statusOf(guest)]);
        return [{ ...tableOf(guest, 3), byteLength }];
      },
      ...lost,
    },
    {
      what: `an indirect table of ${byteLength} bytes behind a status byte`,
      build: (guest) => [
        headerOf(guest),
        statusOf(guest, WRITE | NEXT),
        { ...tableOf(guest, 3), byteLength },
      ],
      ...ioError,
    },
  ]),
  {
    what: 'an indirect descriptor with NEXT',
    build: (guest) => {
      guest.writeTable([headerOf(guest), dataOf(guest, WRITE)]);
      return [tableOf(guest, 2, INDIRECT | NEXT), statusOf(guest)];
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
    build: (guest) => {
      if (address === HOLE - 16) guest.writeTable([headerOf(guest)], address);
      return [{ ...tableOf(guest, 3), address }];
    },
    ...lost,
  })),
  {
    what: 'an indirect table that was not negotiated',
    ring: { indirect: false },
    build: (guest) => {
      guest.writeTable([headerOf(guest), dataOf(guest, WRITE | NEXT), statusOf(guest)]);
      return [tableOf(guest, 3)];
    },
    ...lost,
  },
  {
    what: 'one descriptor more than the bound in a ring that has room for it',
    ring: { queueSize: 2048 },
    type: OUT,
    build: (guest) => longChain(guest, MAX_CHAIN_DESCRIPTORS + 1),
    ...lost,
  },
  {
    what: 'one descriptor more than the bound through an indirect table',
    type: OUT,
    build: (guest) => {
      guest.writeTable(longChain(guest, MAX_CHAIN_DESCRIPTORS + 1));
      return [tableOf(guest, MAX_CHAIN_DESCRIPTORS + 1)];
    },
    ...lost,
  },
  {
    what: 'one descriptor more than the bound, direct ones counted',
    type: OUT,
    build: (guest) => {
      guest.writeTable(longChain(guest, MAX_CHAIN_DESCRIPTORS + 1).slice(1));
      return [headerOf(guest), tableOf(guest, MAX_CHAIN_DESCRIPTORS)];
    },
    ...lost,
  },
];

/** A write of 8 KiB - and a few bytes of a second round - in so many descriptors that never adjoin their neighbours. */
export function longChain(guest: HostileGuest, count: number): RawDescriptor[] {
  const pieces = count - 2;
  return [
    headerOf(guest),
    ...Array.from({ length: pieces }, (_, i) => ({
      address: guest.data + (1023 - (i % 1024)) * 8,
      byteLength: 8,
      flags: NEXT,
    })),
    statusOf(guest),
  ];
}
