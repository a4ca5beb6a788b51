import {
  BlockOperation,
  MAX_RANGE_SECTORS,
  RANGE_FLAG_UNMAP,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_WRITE_ZEROES,
} from '@iothreads/core';
import {
  done,
  type FramedRequest,
  HEADER,
  type Part,
  readInto,
  rowsOf,
  STATUS,
  writeFrom,
} from './framed-request.js';
import { CAPACITY_SECTORS } from './hostile-guest.js';
import { ioError, type Row, unsupported } from './row.js';

const DISCARD = VIRTIO_BLK_T_DISCARD;
const ZEROES = VIRTIO_BLK_T_WRITE_ZEROES;

const oneRange: readonly Part[] = [HEADER, writeFrom(16), STATUS];
/** A range of the disk is zeroes afterwards. */
const zeroed = (position: number, byteLength: number) => ({
  written: [position, new Uint8Array(byteLength)] as const,
});

/** Discards and write-zeroes. */
export const ranges: readonly Row[] = rowsOf([
  ...([DISCARD, ZEROES] as const).flatMap((type): FramedRequest[] => {
    const name = type === DISCARD ? 'discard' : 'write-zeroes';
    return [
      ...[2, 4, 0x8000_0000, 0xffff_fffe, 3].map((flags): FramedRequest => ({
        what: `${name} with unknown flags 0x${flags.toString(16)}`,
        type,
        ranges: [[0, 8, flags]],
        parts: oneRange,
        ...unsupported,
      })),
      { what: `${name} without a range`, type, parts: [HEADER, STATUS], ...ioError },
      ...[1, 15, 17, 24].map((byteLength): FramedRequest => ({
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
      ).map(([sector, sectors]): FramedRequest => ({
        what: `${name} of ${sectors} sectors at ${sector} of ${CAPACITY_SECTORS}`,
        type,
        ranges: [[sector, sectors, 0]],
        parts: oneRange,
        ...ioError,
      })),
      {
        what: `${name} of more than a range may have, on a disk that is large enough`,
        disk: 'huge',
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
  ...[0, RANGE_FLAG_UNMAP].map((flags): FramedRequest => ({
    what: `write-zeroes reads as zeroes, unmap flag ${flags}`,
    type: ZEROES,
    ranges: [[10, 20, flags]],
    parts: oneRange,
    ...done(BlockOperation.WRITE_ZEROES),
    ...zeroed(5120, 10240),
  })),
]);
