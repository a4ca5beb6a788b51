import { BlockOperation, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, type BlockRequest } from '@iothreads/core';
import { holdDrive } from '@iothreads/backends';
import { expect, test } from 'vitest';
import { TestDisk, expectBytes, pattern } from './support.js';

/** A clock that stands still until it is told, and counts how often it is read. */
class TestClock {
  nowNs = 1_000_000;
  reads = 0;
  /** How far each reading moves it on. */
  stepNs = 0;
  readonly read = (): number => {
    this.reads++;
    this.nowNs += this.stepNs;
    return this.nowNs;
  };
}

async function nullDisk(clock: TestClock, latencyNs: number): Promise<TestDisk> {
  return TestDisk.open({ driver: 'null', latencyNs }, false, clock.read);
}

function reads(disk: TestDisk, count: number): BlockRequest[] {
  return Array.from({ length: count }, (_, i) =>
    disk.owner.transfer(BlockOperation.READ, i * 512, [[i * 512, 512]]),
  );
}

test('defaults: one GiB, offering all that a disk can', async () => {
  const { prepared } = await holdDrive({ driver: 'null' });
  expect(prepared.geometry).toEqual({
    sizeBytes: 1024 ** 3,
    readOnly: false,
    discard: true,
    writeZeroes: true,
  });
});

test('without latency requests complete within submit, in order, and the clock is not read', async () => {
  const clock = new TestClock();
  const disk = await nullDisk(clock, 0);
  const requests = reads(disk, 5);
  disk.driver.submit(requests, 4);
  expect(disk.owner.done.map(({ request }) => request)).toEqual(requests.slice(0, 4));
  expect(disk.driver.executeSync!(requests[4]!)).toBe(VIRTIO_BLK_S_OK);
  expect(clock.reads).toBe(0);
  expect(disk.driver.nextReadyNs!()).toBe(Infinity);
});

test('a request is not complete before its deadline, and is at it', async () => {
  const clock = new TestClock();
  const disk = await nullDisk(clock, 30_000);
  disk.driver.submit(reads(disk, 3), 3);
  expect(clock.reads).toBe(1);
  expect(disk.driver.nextReadyNs!()).toBe(1_030_000);
  expect(disk.driver.poll!(1_029_999)).toBe(0);
  expect(disk.owner.done).toEqual([]);
  expect(disk.driver.poll!(1_030_000)).toBe(3);
  expect(disk.owner.done.map(({ status }) => status)).toEqual([0, 0, 0]);
  expect(disk.driver.nextReadyNs!()).toBe(Infinity);
  expect(disk.driver.poll!(Infinity)).toBe(0);
});

test('each batch has its own deadline; only the due ones complete', async () => {
  const clock = new TestClock();
  const disk = await nullDisk(clock, 30_000);
  const requests = reads(disk, 4);
  disk.driver.submit(requests.slice(0, 1), 1);
  clock.nowNs += 10_000;
  disk.driver.submit(requests.slice(1, 3), 2);
  clock.nowNs += 10_000;
  disk.driver.submit(requests.slice(3), 1);
  expect(disk.driver.poll!(1_040_000)).toBe(3);
  expect(disk.owner.done.map(({ request }) => request)).toEqual(requests.slice(0, 3));
  expect(disk.driver.nextReadyNs!()).toBe(1_050_000);
});

test('the queue keeps its order when it wraps and grows', async () => {
  const clock = new TestClock();
  const disk = await nullDisk(clock, 100);
  const requests = reads(disk, 2000);
  disk.driver.submit(requests.slice(0, 200), 200);
  disk.driver.poll!(clock.nowNs + 100);
  clock.nowNs += 1000;
  for (let i = 200; i < 2000; i += 100) disk.driver.submit(requests.slice(i, i + 100), 100);
  expect(disk.driver.poll!(clock.nowNs + 100)).toBe(1800);
  expect(disk.owner.done.map(({ request }) => request.tag)).toEqual(requests.map(({ tag }) => tag));
});

test('a request submitted by a completion waits for its own deadline', async () => {
  const clock = new TestClock();
  const disk = await nullDisk(clock, 100);
  const [first, second] = reads(disk, 2);
  const requestDone = disk.owner.requestDone.bind(disk.owner);
  disk.owner.requestDone = (request, status) => {
    requestDone(request, status);
    if (request === first) disk.driver.submit([second!], 1);
  };
  disk.driver.submit([first!], 1);
  clock.nowNs += 100;
  expect(disk.driver.poll!(clock.nowNs)).toBe(1);
  expect(disk.driver.nextReadyNs!()).toBe(clock.nowNs + 100);
  expect(disk.driver.poll!(clock.nowNs + 100)).toBe(1);
});

test('a synchronous request keeps the thread for its latency', async () => {
  const clock = new TestClock();
  const disk = await nullDisk(clock, 1000);
  clock.stepNs = 10;
  expect(disk.driver.executeSync!(reads(disk, 1)[0]!)).toBe(VIRTIO_BLK_S_OK);
  // One reading begins it; a hundred steps later it is over.
  expect(clock.reads).toBe(101);
});

test('flush, discard, write-zeroes and writes take the latency too', async () => {
  const clock = new TestClock();
  const disk = await nullDisk(clock, 100);
  const { owner } = disk;
  const requests = [
    owner.flush(),
    owner.ranges(BlockOperation.DISCARD, [0, 512]),
    owner.ranges(BlockOperation.WRITE_ZEROES, [0, 512]),
    owner.transfer(BlockOperation.WRITE, 0, [[0, 512]]),
  ];
  disk.driver.submit(requests, 4);
  expect(disk.driver.poll!(clock.nowNs + 99)).toBe(0);
  expect(disk.driver.poll!(clock.nowNs + 100)).toBe(4);
  expect(owner.done.map(({ status }) => status)).toEqual([0, 0, 0, 0]);
});

test('reads leave the buffer alone by default, and zero it when asked to', async () => {
  for (const readZeroes of [false, true]) {
    for (const mode of ['sync', 'async'] as const) {
      const disk = await TestDisk.open({ driver: 'null', readZeroes });
      disk.memory.write(0, pattern(2048));
      const request = disk.owner.transfer(BlockOperation.READ, 0, [[512, 1024]]);
      expect(await disk.run(mode, request)).toBe(VIRTIO_BLK_S_OK);
      const expected = pattern(2048);
      if (readZeroes) expected.fill(0, 512, 1536);
      expectBytes(disk.memory.read(0, 2048), expected);
    }
  }
});

test('readZeroes does not wipe the buffer of a write', async () => {
  const disk = await TestDisk.open({ driver: 'null', readZeroes: true });
  disk.memory.write(0, pattern(512));
  await disk.run('async', disk.owner.transfer(BlockOperation.WRITE, 0, [[0, 512]]));
  expectBytes(disk.memory.read(0, 512), pattern(512));
});

test('a read-only disk refuses writes although its device should have', async () => {
  const disk = await TestDisk.open({ driver: 'null' }, true);
  expect(disk.driver.geometry).toMatchObject({ readOnly: true, discard: false, writeZeroes: false });
  const write = disk.owner.transfer(BlockOperation.WRITE, 0, [[0, 512]]);
  expect(await disk.run('async', write)).toBe(VIRTIO_BLK_S_IOERR);
  expect(await disk.run('async', disk.owner.flush())).toBe(VIRTIO_BLK_S_OK);
});

test('a request that the device took back is reported when its deadline comes, not completed', async () => {
  const clock = new TestClock();
  const disk = await nullDisk(clock, 100);
  const [request] = reads(disk, 1);
  disk.driver.submit([request!], 1);
  request!.tag++;
  disk.driver.poll!(clock.nowNs + 100);
  expect(disk.owner.done).toEqual([]);
  expect(disk.owner.twice).toEqual([request]);
});
