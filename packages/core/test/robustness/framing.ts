import {
  BlockOperation,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
} from '@iothreads/core';
import {
  done,
  HEADER,
  type Part,
  readInto,
  readOk,
  rowsOf,
  STATUS,
  writeFrom,
  writeOk,
} from './framed-request.js';
import { CAPACITY_SECTORS, NEXT, NO_STATUS, SECOND_REGION, WRITE } from './hostile-guest.js';
import { headerOf, inMemory, ok, onDisk, type Row, statusOf } from './row.js';

const IN = VIRTIO_BLK_T_IN;
const OUT = VIRTIO_BLK_T_OUT;
const FLUSH = VIRTIO_BLK_T_FLUSH;

/** No assumption about framing. */
export const framing: readonly Row[] = rowsOf([
  { what: 'header, data, status', type: IN, parts: [HEADER, readInto(1024), STATUS], ...readOk(5, 1024) },
  {
    what: 'a header split in two',
    type: IN,
    parts: [['header', 0, 9], ['header', 9, 7], readInto(512), STATUS],
    ...readOk(63, 512),
  },
  {
    what: 'a header split into bytes',
    ring: { queueSize: 32 },
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
]);

/** Chains of more than one framing, or of several requests. */
export const unusualFraming: readonly Row[] = [
  {
    what: 'header and data in one descriptor',
    build: (guest) => {
      // The header lies right before the data that it writes.
      guest.writeHeader(OUT, 9, 0, guest.data);
      return [{ address: guest.data, byteLength: 16 + 512, flags: NEXT }, statusOf(guest)];
    },
    ...ok,
    operations: [BlockOperation.WRITE],
    written: [9 * 512, inMemory(16, 512)],
  },
  {
    what: 'the status on the far side of a region border from its data',
    type: IN,
    sector: 4,
    build: (guest) => {
      guest.put(SECOND_REGION, Uint8Array.of(NO_STATUS));
      return [headerOf(guest), { address: SECOND_REGION - 512, byteLength: 513, flags: WRITE }];
    },
    usedLength: 513,
    operations: [BlockOperation.READ],
    filled: () => [[SECOND_REGION - 512, Uint8Array.of(...onDisk(4 * 512, 512), VIRTIO_BLK_S_OK)]],
  },
  {
    what: 'bad and good requests in one batch, each with its own answer',
    ring: { queueSize: 16 },
    type: IN,
    sector: 1,
    build: (guest) => {
      const header = { address: guest.header, byteLength: 16 };
      const status = { byteLength: 1, flags: WRITE };
      return [
        { ...header, flags: NEXT, next: 1 },
        { address: guest.data, byteLength: 100, flags: WRITE | NEXT, next: 2 },
        { ...status, address: guest.status - 15 },
        { ...header, flags: NEXT, next: 4 },
        { address: guest.data, byteLength: 512, flags: WRITE | NEXT, next: 5 },
        { ...status, address: guest.status - 14 },
        { ...header, flags: 0 },
      ];
    },
    heads: [0, 6, 3],
    completions: [
      { head: 0, usedLength: 1 },
      { head: 6, usedLength: 0 },
      { head: 3, usedLength: 513 },
    ],
    operations: [BlockOperation.READ],
    filled: (guest) => [
      [guest.status - 15, Uint8Array.of(VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK)],
      [guest.data, onDisk(512, 512)],
    ],
  },
];
