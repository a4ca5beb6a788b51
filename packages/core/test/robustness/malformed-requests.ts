import { VIRTIO_BLK_S_IOERR, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT } from '@iothreads/core';
import {
  type FramedRequest,
  HEADER,
  readInto,
  readOk,
  rowsOf,
  STATUS,
  writeFrom,
  writeOk,
} from './framed-request.js';
import { CAPACITY_SECTORS } from './hostile-guest.js';
import { inMemory, ioError, lost, type Row } from './row.js';

const IN = VIRTIO_BLK_T_IN;
const OUT = VIRTIO_BLK_T_OUT;
const FLUSH = VIRTIO_BLK_T_FLUSH;

/** What has no header, no status byte, or data that is none. */
export const malformed: readonly Row[] = rowsOf([
  ...[0, 1, 8, 15].map((byteLength): FramedRequest => ({
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
  ...[1, 511, 513, 1000].flatMap((byteLength): FramedRequest[] => [
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
]);

/** Sectors beyond the capacity. */
export const beyondCapacity: readonly Row[] = rowsOf(
  [
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
  ].flatMap(([sector, byteLength]): FramedRequest[] => [
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
  ]),
);

/** ... and up to it. */
export const upToCapacity: readonly Row[] = rowsOf([
  { what: 'a read of the last sector', type: IN, parts: [HEADER, readInto(512), STATUS], ...readOk(63, 512) },
  {
    what: 'a write of the last two sectors',
    type: OUT,
    parts: [HEADER, writeFrom(1024), STATUS],
    ...writeOk(62, inMemory(0, 1024)),
  },
]);
