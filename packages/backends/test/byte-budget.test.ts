import { BlockOperation, VIRTIO_BLK_S_OK } from '@iothreads/core';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { ByteBudget } from '../dist/module/byte-budget.js';
import { CHUNK_BYTES, MAX_BUFFERED_BYTES } from '../dist/module/module-driver.js';
import { TestDisk, temporaryDirectory } from './support.js';

test('who comes first gets what is there; the others wait in order', async () => {
  const budget = new ByteBudget(10);
  const order: string[] = [];
  expect(budget.take(6)).toBeUndefined();
  const large = budget.take(5)!.then(() => order.push('large'));
  // There would be room for it, but it is not its turn.
  const small = budget.take(1)!.then(() => order.push('small'));
  await Promise.resolve();
  expect(order).toEqual([]);
  budget.give(6);
  await Promise.all([large, small]);
  expect(order).toEqual(['large', 'small']);
  budget.give(6);
  expect(budget.take(10)).toBeUndefined();
});

test("a user's disk has so many bytes of buffers at a time, however many a guest asks for", async () => {
  const url = join(temporaryDirectory(), 'disk.mjs');
  const words = new Int32Array(new SharedArrayBuffer(4));
  writeFileSync(
    url,
    `export default ({ words }) => {
      const waiting = [];
      return {
        size: 2 ** 30,
        pread(buffer) {
          Atomics.add(words, 0, 1);
          return new Promise((go) => waiting.push(go));
        },
        flush() { for (const go of waiting.splice(0)) go(); },
      };
    };`,
  );
  const disk = await TestDisk.open({ driver: 'module', url, options: { words } });
  const most = MAX_BUFFERED_BYTES / CHUNK_BYTES;
  const count = most + 6;
  const reads = Array.from({ length: count }, () =>
    disk.owner.transfer(BlockOperation.READ, 0, [[0, CHUNK_BYTES]]),
  );
  disk.driver.submit(reads, count);
  await new Promise(setImmediate);
  expect(words[0]).toBe(most);
  // Lets those go that have come; the others come then, and go as well.
  disk.driver.submit([disk.owner.flush()], 1);
  await new Promise(setImmediate);
  expect(words[0]).toBe(count);
  disk.driver.submit([disk.owner.flush()], 1);
  await disk.owner.completions(count + 2);
  expect(disk.owner.done.every(({ status }) => status === VIRTIO_BLK_S_OK)).toBe(true);
});
