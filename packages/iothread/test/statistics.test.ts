// Statistics are read while an iothread writes them.
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { BlockStatistics } from '../dist/shared/block-statistics.js';

const REQUESTS = 2_000_000;

test('every look at them while they are written is of one piece; in the end they are exact', async () => {
  const statistics = new BlockStatistics();
  const writer = new Worker(new URL('./fixtures/statistics-writer.mjs', import.meta.url), {
    workerData: { buffer: statistics.buffer, requests: REQUESTS },
  });
  const progress = { written: false };
  const end = once(writer, 'message').then(() => {
    progress.written = true;
  });
  let looks = 0;
  let last = statistics.read('write');
  while (!progress.written) {
    const now = statistics.read('write');
    for (const counter of ['operations', 'bytes', 'sync', 'async', 'errors'] as const) {
      // A carry that was torn would jump by 2^31, back or forth.
      expect(now[counter]).toBeGreaterThanOrEqual(last[counter]);
    }
    // `operations` was read first: by now there may be more bytes, never less, and no more than the writer can count
    // between two readings.
    expect(now.bytes).toBeGreaterThanOrEqual((now.operations - 1) * 2 ** 30);
    expect(now.bytes).toBeLessThanOrEqual(REQUESTS * 2 ** 30);
    last = now;
    looks++;
    await new Promise(setImmediate);
  }
  await end;
  await writer.terminate();
  expect(looks).toBeGreaterThan(10);
  const { latency, ...counts } = statistics.read('write');
  expect(counts).toEqual({
    operations: REQUESTS,
    bytes: REQUESTS * 2 ** 30,
    errors: REQUESTS / 8,
    sync: REQUESTS / 2,
    async: REQUESTS / 2,
  });
  expect(latency.count).toBe(REQUESTS);
  expect(latency.maxNs).toBe(4095);
  expect(statistics.read('read').operations).toBe(0);
});

test('several iothreads together are their sum', () => {
  const sum = new BlockStatistics();
  for (let iothread = 0; iothread < 3; iothread++) {
    const one = new BlockStatistics();
    for (let i = 0; i <= iothread; i++) one.countDone(0, 512, 1000 * (iothread + 1), iothread === 0);
    one.countError(4);
    one.countInvalid();
    sum.merge(one);
  }
  expect(sum.read('read')).toMatchObject({ operations: 6, bytes: 6 * 512, sync: 1, async: 5, errors: 0 });
  expect(sum.read('read').latency.count).toBe(6);
  expect(sum.read('writeZeroes').errors).toBe(3);
  expect(sum.invalid).toBe(3);
});
