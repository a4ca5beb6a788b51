import {
  type BlockLimits,
  BlockRequest,
  InflightTable,
  Popped,
  RequestParser,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_IN,
  Virtqueue,
  writeStatus,
} from '@iothreads/core';
import { BlkDriver } from '@iothreads/core/testing';
import { createGuestMemory, layOut } from '../load/guest-layout.js';
import { medianNs } from './rounds.js';

const LIMITS: BlockLimits = {
  capacitySectors: 1 << 20,
  readOnly: false,
  discard: true,
  writeZeroes: true,
  serial: new Uint8Array(),
};

/**
 * Nanoseconds a request that the device side takes, without a backend: pop, parse, complete, push, publish.
 * @param tracked whether what is in flight is noted in a table, for the next back end
 */
export function measureDeviceSide(batch: number, eventIdx: boolean, tracked: boolean): number {
  const { allocator, queues } = layOut(createGuestMemory(), 1);
  const driver = new BlkDriver(allocator, { addresses: queues[0]!, depth: batch, dataBytes: 4096, eventIdx });
  const { size } = queues[0]!;
  const inflight = tracked
    ? new InflightTable(new ArrayBuffer(InflightTable.bytesFor(size)), 0, size)
    : undefined;
  const queue = new Virtqueue(allocator.memory, queues[0]!, { indirect: true, eventIdx, inflight });
  const parser = new RequestParser(LIMITS);
  const request = new BlockRequest();
  // The driver side is prepared outside the measured part, some batches' worth at a time would need a larger ring: so the
  // clock is read around the device side of every batch.
  return medianNs(batch, 1, (i) => {
    for (let slot = driver.takeSlot(); slot !== -1; slot = driver.takeSlot()) {
      driver.start(slot, VIRTIO_BLK_T_IN, (i * 8) & 0xfffff, 4096);
    }
    driver.publish();
    const before = performance.now();
    while (queue.pop(request) === Popped.CHAIN) {
      parser.parse(request, true);
      queue.push(request.head, writeStatus(request, VIRTIO_BLK_S_OK));
    }
    queue.publish();
    const deviceMs = performance.now() - before;
    while (driver.takeDone() !== -1);
    return deviceMs;
  });
}
