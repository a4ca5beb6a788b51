// What a driver can do wrong in a request. The tables are in `robustness`: test/hostile has a real daemon serve them as well.
import {
  BlockOperation,
  BlockRequest,
  Popped,
  RANGE_FLAG_UNMAP,
  RequestParser,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_WRITE_ZEROES,
  Virtqueue,
} from '@iothreads/core';
import { DriverQueue, GuestAllocator } from '@iothreads/core/testing';
import { describe, expect, test } from 'vitest';
import { NEXT, WRITE } from './robustness/hostile-guest.js';
import { REQUESTS } from './robustness/tables.js';
import { BlockRig, RIGS } from './support/block-rig.js';
import { expectRowInProcess } from './support/expect-row-in-process.js';

describe.each(RIGS)('%s', (_way, Rig) => {
  describe.each(REQUESTS)('%s', (_rule, rows) => {
    test.each(rows)('$what', (row) => expectRowInProcess(Rig, row));
  });
});

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
  allocator.view(header, 16).setUint32(0, VIRTIO_BLK_T_OUT, true);
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

test('a range at a sector above 2^32 is placed exactly', () => {
  const rig = new BlockRig();
  const parser = new RequestParser({
    capacitySectors: 2 ** 44,
    readOnly: false,
    discard: true,
    writeZeroes: true,
    serial: new Uint8Array(0),
  });
  rig.writeHeader(VIRTIO_BLK_T_WRITE_ZEROES);
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
