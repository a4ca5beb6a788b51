import { BlockOperation, VIRTIO_BLK_S_OK, type BlockRequest } from '@iothreads/core';
import { type BlockDriver } from '@iothreads/backends';
import { expect, test } from 'vitest';
import { TestDisk } from './support.js';

test('a driver that completes a request twice is reported, and the request is done once', () => {
  const hasty: BlockDriver = {
    geometry: { sizeBytes: 512, readOnly: true, discard: false, writeZeroes: false },
    submit(requests: readonly BlockRequest[], count: number): void {
      for (let i = 0; i < count; i++) {
        const request = requests[i]!;
        const tag = request.tag;
        request.complete(tag, VIRTIO_BLK_S_OK);
        request.complete(tag, VIRTIO_BLK_S_OK);
      }
    },
    close: async () => {},
  };
  const disk = new TestDisk(hasty);
  const request = disk.owner.transfer(BlockOperation.READ, 0, [[0, 512]]);
  disk.driver.submit([request], 1);
  expect(disk.owner.done).toEqual([{ request, status: VIRTIO_BLK_S_OK }]);
  expect(disk.owner.twice).toEqual([request]);
});
