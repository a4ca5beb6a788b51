import {
  BlockRequest,
  BounceArea,
  featureSet,
  GuestMemory,
  Popped,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_VERSION_1,
  Virtqueue,
} from '@iothreads/core';
import { BlkDriver, GuestAllocator } from '@iothreads/core/testing';
import { medianNs } from './rounds.js';

const QUEUE_SIZE = 256;
const RAM_BYTES = 8 << 20;
const DATA_BYTES = 4096;

/**
 * Nanoseconds a 4 KiB request that copying it through a slot adds on the emulator's thread: taken from the guest's ring, and
 * given back to it. The iothread's part, in between, is not counted.
 */
export function measureBounceSide(batch: number, write: boolean): number {
  const ram = new ArrayBuffer(RAM_BYTES);
  let dirtyBytes = 0;
  const area = new BounceArea(
    {
      buffer: () => ram,
      markDirty: (_address, byteLength) => {
        dirtyBytes += byteLength;
      },
      slots: batch,
    },
    { numQueues: 1, queueSize: QUEUE_SIZE, onBroken: () => undefined },
  );
  const allocator = new GuestAllocator([{ guestAddress: 0, buffer: ram }]);
  const addresses = allocator.allocateQueue(QUEUE_SIZE);
  const driver = new BlkDriver(allocator, { addresses, depth: batch, dataBytes: DATA_BYTES, eventIdx: true });
  const slots = area.open(0, addresses, featureSet(VIRTIO_F_VERSION_1, VIRTIO_F_EVENT_IDX));
  const iothread = new Virtqueue(new GuestMemory(area.shared), slots, { indirect: false, eventIdx: true });
  const queue = area.queue(0)!;
  const request = new BlockRequest();
  const type = write ? VIRTIO_BLK_T_OUT : VIRTIO_BLK_T_IN;
  const usedLength = write ? 1 : DATA_BYTES + 1;
  const result = medianNs(batch, 2, (i) => {
    for (let slot = driver.takeSlot(); slot !== -1; slot = driver.takeSlot()) {
      driver.start(slot, type, (i * 8) & 0xfffff, DATA_BYTES);
    }
    driver.publish();
    const before = performance.now();
    queue.take();
    const taken = performance.now();
    while (iothread.pop(request) === Popped.CHAIN) {
      const { writable } = request;
      const last = writable.length - 1;
      const end = writable.offsets[last]! + writable.lengths[last]!;
      writable.regions[last]!.bytes[end - 1] = VIRTIO_BLK_S_OK;
      iothread.push(request.head, usedLength);
    }
    iothread.publish();
    const done = performance.now();
    queue.give();
    const given = performance.now();
    for (let slot = driver.takeDone(); slot !== -1; slot = driver.takeDone()) {
      if (driver.status(slot) !== VIRTIO_BLK_S_OK) throw new Error(`status ${driver.status(slot)}`);
    }
    return given - done + (taken - before);
  });
  if (!write && dirtyBytes === 0) throw new Error('nothing was marked as written');
  return result;
}
