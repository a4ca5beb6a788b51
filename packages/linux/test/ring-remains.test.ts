// A thread ends and leaves its io_uring behind, which is the process's.
import {
  buryRing,
  createSocketPair,
  closeFd,
  IoUring,
  NativeBuffer,
  type RingRemains,
  waitReadable,
} from '@iothreads/linux';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { afterEach, beforeEach, expect, test } from 'vitest';

const openFds = (): number => readdirSync('/proc/self/fd').length;
const ringMappings = (): number => readFileSync('/proc/self/maps', 'utf8').split('[io_uring]').length;

let near: number;
let far: number;
beforeEach(() => {
  [near, far] = createSocketPair();
});
afterEach(() => {
  closeFd(near);
  closeFd(far);
});

test('its guard hangs up when the ring is gone, not when its thread is', async () => {
  const before = [openFds(), ringMappings()];
  const worker = new Worker(new URL('./fixtures/dying-ring.mjs', import.meta.url), {
    workerData: { fd: near },
  });
  const exited = once(worker, 'exit');
  const [remains] = (await once(worker, 'message')) as [RingRemains];
  await exited;
  expect(remains.guardFd).toBeGreaterThan(0);
  // Linux keeps the ring: descriptor and mappings are there.
  expect(waitReadable(remains.guardFd, 0)).toBe(false);
  expect(openFds()).toBeGreaterThan(before[0]!);
  expect(await buryRing(remains)).toBe(true);
  expect([openFds(), ringMappings()]).toEqual(before);
});

test('without a guard nobody can say', async () => {
  const before = openFds();
  const ring = new IoUring(8);
  closeFd(ring.remains.guardFd);
  expect(await buryRing({ ...ring.remains, guardFd: -1 })).toBe(false);
  expect(openFds()).toBe(before);
});

test('a thread that is about to end waits for what is in flight, and nobody hears of that', () => {
  const ring = new IoUring(8);
  const memory = new NativeBuffer(64);
  const file = ring.registerFile(near);
  ring.read(file, memory.address, 64, 0, 1);
  ring.submit();
  writeSync(far, 'late');
  // Prepared only: it is never submitted.
  ring.read(file, memory.address, 64, 0, 2);
  ring.drain();
  expect(Buffer.from(memory.buffer, 0, 4).toString()).toBe('late');
  expect(ring.reap(() => expect.unreachable())).toBe(0);
  ring.close();
});
