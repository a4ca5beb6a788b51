import {
  BlockOperation,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_BARRIER,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_GET_ID,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_WRITE_ZEROES,
} from '@iothreads/core';
import { DISKS } from './disks.js';
import {
  done,
  type FramedRequest,
  HEADER,
  readInto,
  readOk,
  rowsOf,
  STATUS,
  writeFrom,
  writeOk,
} from './framed-request.js';
import { inMemory, ioError, type Row, unsupported } from './row.js';

const IN = VIRTIO_BLK_T_IN;
const OUT = VIRTIO_BLK_T_OUT;
const FLUSH = VIRTIO_BLK_T_FLUSH;
const GET_ID = VIRTIO_BLK_T_GET_ID;
const DISCARD = VIRTIO_BLK_T_DISCARD;
const ZEROES = VIRTIO_BLK_T_WRITE_ZEROES;

/** A disk that must not be written. */
export const readOnlyDisk: readonly Row[] = rowsOf([
  { what: 'a write', disk: 'readOnly', type: OUT, parts: [HEADER, writeFrom(512), STATUS], ...ioError },
  { what: 'a write of nothing', disk: 'readOnly', type: OUT, parts: [HEADER, STATUS], ...ioError },
  {
    what: 'a discard',
    disk: 'readOnly',
    type: DISCARD,
    ranges: [[0, 8, 0]],
    parts: [HEADER, writeFrom(16), STATUS],
    ...ioError,
  },
  {
    what: 'a write-zeroes',
    disk: 'readOnly',
    type: ZEROES,
    ranges: [[0, 8, 0]],
    parts: [HEADER, writeFrom(16), STATUS],
    ...ioError,
  },
  { what: 'a read', disk: 'readOnly', type: IN, parts: [HEADER, readInto(512), STATUS], ...readOk(1, 512) },
  {
    what: 'a flush',
    disk: 'readOnly',
    type: FLUSH,
    parts: [HEADER, STATUS],
    ...done(BlockOperation.FLUSH),
  },
  {
    what: 'an id',
    disk: 'readOnly',
    type: GET_ID,
    parts: [HEADER, readInto(20), STATUS],
    status: VIRTIO_BLK_S_OK,
    usedLength: 21,
    data: serial(DISKS.readOnly.serial),
  },
]);

/** Flushes, whatever comes with them. */
export const flushes: readonly Row[] = rowsOf([
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
]);

/** GET_ID. */
export const ids: readonly Row[] = rowsOf([
  ...[0, 1, 19].map((byteLength): FramedRequest => ({
    what: `${byteLength} bytes are too few`,
    type: GET_ID,
    parts: [HEADER, readInto(byteLength), STATUS],
    ...ioError,
  })),
  ...[20, 512].map((byteLength): FramedRequest => ({
    what: `${byteLength} bytes hold 20, padded with NUL`,
    type: GET_ID,
    parts: [HEADER, readInto(byteLength), STATUS],
    status: VIRTIO_BLK_S_OK,
    usedLength: 21,
    data: serial(DISKS.plain.serial),
  })),
  {
    what: 'the buffer in three pieces',
    type: GET_ID,
    parts: [HEADER, readInto(3), readInto(2, 3), readInto(15, 5), STATUS],
    status: VIRTIO_BLK_S_OK,
    usedLength: 21,
    data: serial(DISKS.plain.serial),
  },
  {
    what: 'an id of 20 bytes without a NUL',
    disk: 'longSerial',
    type: GET_ID,
    parts: [HEADER, readInto(20), STATUS],
    status: VIRTIO_BLK_S_OK,
    usedLength: 21,
    data: serial(DISKS.longSerial.serial),
  },
  {
    what: 'an id of more than 20 bytes is cut',
    disk: 'tooLongSerial',
    type: GET_ID,
    parts: [HEADER, readInto(64), STATUS],
    status: VIRTIO_BLK_S_OK,
    usedLength: 21,
    data: serial(DISKS.longSerial.serial),
  },
  {
    what: 'into a readable buffer',
    type: GET_ID,
    parts: [HEADER, writeFrom(20), STATUS],
    ...ioError,
  },
]);

/** Types that nobody knows, or that are not offered. */
export const unknownTypes: readonly Row[] = rowsOf([
  ...[2, 3, 5, 10, 12, 14, 0x1_0000, 0x7fff_ffff, 0xffff_ffff].map((type): FramedRequest => ({
    what: `type 0x${type.toString(16)}`,
    type,
    parts: [HEADER, readInto(512), STATUS],
    ...unsupported,
  })),
  {
    what: 'a discard that is not offered',
    disk: 'noDiscard',
    type: DISCARD,
    ranges: [[0, 8, 0]],
    parts: [HEADER, writeFrom(16), STATUS],
    ...unsupported,
  },
  {
    what: 'a write-zeroes that is not offered',
    disk: 'noWriteZeroes',
    type: ZEROES,
    ranges: [[0, 8, 0]],
    parts: [HEADER, writeFrom(16), STATUS],
    ...unsupported,
  },
]);

/** What of a header means nothing. */
export const ignored: readonly Row[] = rowsOf([
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
]);

/** Twenty bytes, padded with NUL. */
function serial(text: string): Uint8Array {
  const bytes = new Uint8Array(20);
  bytes.set(new TextEncoder().encode(text));
  return bytes;
}
