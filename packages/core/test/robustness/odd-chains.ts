import { BlockOperation, MAX_CHAIN_DESCRIPTORS, VIRTIO_BLK_T_OUT } from '@iothreads/core';
import { longChain } from './failed-chains.js';
import { HOLE, type HostileGuest, NEXT, pattern, SECOND_REGION, WRITE } from './hostile-guest.js';
import {
  dataOf,
  headerOf,
  INDIRECT,
  inMemory,
  ioError,
  lost,
  ok,
  onDisk,
  type Row,
  statusOf,
  tableOf,
} from './row.js';

/** A read of sector 0 that succeeds, of `byteLength` bytes into `address`; the data buffer by default. */
const reads = (
  byteLength: number = 512,
  address: (guest: HostileGuest) => number = ({ data }) => data,
): Pick<Row, 'status' | 'usedLength' | 'operations' | 'filled'> => ({
  ...ok,
  usedLength: byteLength + 1,
  operations: [BlockOperation.READ],
  filled: (guest) => [[address(guest), onDisk(0, byteLength)]],
});
const writes = (position: number, bytes: Uint8Array) => ({
  ...ok,
  operations: [BlockOperation.WRITE],
  written: [position, bytes] as const,
});

/** Chains that look odd and are right. */
export const oddChains: readonly Row[] = [
  ...[1, 255, 256, 511].map((before): Row => ({
    what: `a read into a buffer that spans adjoining regions, ${before} bytes before`,
    build: (guest) => [
      headerOf(guest),
      { address: SECOND_REGION - before, byteLength: 512, flags: WRITE | NEXT },
      statusOf(guest),
    ],
    ...reads(512, () => SECOND_REGION - before),
  })),
  {
    what: 'a write from a buffer that spans adjoining regions',
    type: VIRTIO_BLK_T_OUT,
    sector: 3,
    build: (guest) => {
      guest.put(SECOND_REGION - 100, inMemory(0, 512));
      return [
        headerOf(guest),
        { address: SECOND_REGION - 100, byteLength: 512, flags: NEXT },
        statusOf(guest),
      ];
    },
    ...writes(3 * 512, inMemory(0, 512)),
  },
  {
    what: 'a header that spans adjoining regions',
    build: (guest) => {
      const address = SECOND_REGION - 16 + 7;
      guest.put(address, guest.bytes(guest.header, 16));
      return [{ address, byteLength: 16, flags: NEXT }, dataOf(guest, WRITE | NEXT), statusOf(guest)];
    },
    ...reads(),
  },
  {
    what: 'an indirect table that spans adjoining regions, a descriptor on the border included',
    build: (guest) => {
      const address = SECOND_REGION - 24;
      guest.writeTable([headerOf(guest), dataOf(guest, WRITE | NEXT), statusOf(guest)], address);
      return [{ address, byteLength: 48, flags: INDIRECT }];
    },
    ...reads(),
  },
  {
    what: 'zero-length descriptors, wherever they are and wherever they point, are skipped',
    ring: { queueSize: 16 },
    build: (guest) => [
      { address: 2n ** 64n - 1n, byteLength: 0, flags: NEXT },
      headerOf(guest),
      { address: HOLE, byteLength: 0, flags: NEXT },
      { address: HOLE, byteLength: 0, flags: WRITE | NEXT },
      dataOf(guest, WRITE | NEXT),
      { address: 0, byteLength: 0, flags: NEXT | WRITE },
      statusOf(guest, WRITE | NEXT),
      { address: guest.data, byteLength: 0, flags: WRITE },
    ],
    ...reads(),
  },
  {
    what: 'a readable descriptor between writable ones, without a byte and so without a direction',
    build: (guest) => [
      headerOf(guest),
      dataOf(guest, WRITE | NEXT),
      { address: HOLE, byteLength: 0, flags: NEXT },
      statusOf(guest),
    ],
    ...reads(),
  },
  {
    what: '... and in an indirect table',
    build: (guest) => {
      guest.writeTable([
        headerOf(guest),
        dataOf(guest, WRITE | NEXT),
        { address: 2n ** 63n, byteLength: 0, flags: NEXT },
        statusOf(guest),
      ]);
      return [tableOf(guest, 4)];
    },
    ...reads(),
  },
  {
    what: 'a chain of nothing but zero-length descriptors has no status byte',
    build: (guest) => [
      { address: guest.header, byteLength: 0, flags: NEXT },
      { address: guest.status, byteLength: 0, flags: WRITE },
    ],
    ...lost,
  },
  {
    what: 'the WRITE flag on an indirect descriptor is ignored',
    build: (guest) => {
      guest.writeTable([headerOf(guest), dataOf(guest, WRITE | NEXT), statusOf(guest)]);
      return [tableOf(guest, 3, INDIRECT | WRITE)];
    },
    ...reads(),
  },
  ...[1, 2].map((direct): Row => ({
    what: `direct descriptors (${direct}) followed by an indirect one`,
    build: (guest) => {
      const chain = [headerOf(guest), dataOf(guest, WRITE | NEXT), statusOf(guest)];
      guest.writeTable(chain.slice(direct));
      return [...chain.slice(0, direct), tableOf(guest, 3 - direct)];
    },
    ...reads(),
  })),
  {
    what: 'a chain as long as the ring',
    build: (guest) => [
      headerOf(guest),
      ...Array.from({ length: 6 }, (_, i) => ({
        address: guest.data + i * 512,
        byteLength: 512,
        flags: WRITE | NEXT,
      })),
      statusOf(guest),
    ],
    ...reads(6 * 512),
  },
  {
    what: 'an indirect chain of the most descriptors, in a ring of 8',
    type: VIRTIO_BLK_T_OUT,
    sector: 2,
    build: (guest) => {
      guest.writeTable(longChain(guest, MAX_CHAIN_DESCRIPTORS));
      return [tableOf(guest, MAX_CHAIN_DESCRIPTORS)];
    },
    ...writes(
      1024,
      Uint8Array.from({ length: 8192 }, (_, i) => pattern((1023 - (i >> 3)) * 8 + (i & 7))),
    ),
  },
  {
    what: 'a full ring: avail.idx exactly the queue size ahead',
    build: (guest) => Array.from({ length: 8 }, () => statusOf(guest)),
    heads: [0, 1, 2, 3, 4, 5, 6, 7],
    ...ioError,
    completions: Array.from({ length: 8 }, (_, head) => ({ head, usedLength: 1 })),
  },
  { what: 'a kick with nothing available', build: () => [], heads: [], completions: [] },
];
