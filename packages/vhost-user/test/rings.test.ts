// Rings are started, stopped, enabled and disabled one by one.
import { RING_IDX } from '@iothreads/core';
import { clearEventfd, closeFd, createEventfd, signalEventfd, waitReadable } from '@iothreads/linux';
import { encodeVringFd, encodeVringState, Request } from '@iothreads/vhost-user/front-end';
import { afterEach, describe, expect, test } from 'vitest';
import { closeRigs, ExportRig } from './support/export-rig.js';
import { Gate } from '../../../test/support/gate.js';
import { openFds } from './support/open-fds.js';
import { expectBytes, pattern } from './support/pattern.js';
import { underLoad } from './support/under-load.js';
import { until } from '../../../test/support/within.js';

afterEach(closeRigs);

const SMALL = { queueSize: 16, dataBytes: 4096 } as const;

test('rings are disabled and enabled one by one', async () => {
  const rig = await ExportRig.start(undefined, { iothreads: ['iothread0', 'iothread1'], numQueues: 3 });
  const frontEnd = await rig.connect({ numQueues: 3, ...SMALL });
  const [a, b, c] = frontEnd.queues;
  await frontEnd.setEnable(1, false);
  const waiting = b!.write(8, pattern(4096, 2));
  b!.kick();
  await a!.write(0, pattern(4096, 1));
  await c!.write(16, pattern(4096, 3));
  // The others were served behind it; it was not.
  expect(b!.inFlight).toBe(1);
  expect(b!.driver.queue.hasUsed()).toBe(false);
  await frontEnd.setEnable(0, false);
  await frontEnd.setEnable(1, true);
  await waiting;
  expectBytes(await b!.read(0, 4096), pattern(4096, 1));
  await frontEnd.setEnable(0, true);
  expectBytes(await a!.read(8, 4096), pattern(4096, 2));
  expectBytes(await a!.read(16, 4096), pattern(4096, 3));
});

test('a ring that was never enabled is not served', async () => {
  const rig = await ExportRig.start();
  const frontEnd = await rig.connect({ start: false });
  const queue = frontEnd.queues[0]!;
  const waiting = queue.write(0, pattern(512, 1));
  await frontEnd.requests.tell(Request.SET_VRING_NUM, encodeVringState({ index: 0, num: 128 }));
  await frontEnd.setAddresses(0, queue.addresses);
  await frontEnd.requests.tell(Request.SET_VRING_CALL, encodeVringFd({ index: 0, hasFd: true }), [
    queue.callFd,
  ]);
  await frontEnd.requests.tell(Request.SET_VRING_KICK, encodeVringFd({ index: 0, hasFd: true }), [
    queue.kickFd,
  ]);
  queue.kick();
  expect(await frontEnd.getVringBase(0)).toBe(0);
  expect(queue.driver.queue.hasUsed()).toBe(false);
  await frontEnd.startQueue(0);
  await waiting;
});

test('a ring that was never kicked off is not served, whatever else is said', async () => {
  const rig = await ExportRig.start();
  const frontEnd = await rig.connect({ start: false });
  const queue = frontEnd.queues[0]!;
  const waiting = queue.write(0, pattern(512, 1));
  await frontEnd.setEnable(0, true);
  await frontEnd.requests.tell(Request.SET_VRING_NUM, encodeVringState({ index: 0, num: 128 }));
  await frontEnd.setAddresses(0, queue.addresses);
  expect(queue.driver.queue.hasUsed()).toBe(false);
  await frontEnd.startQueue(0);
  await waiting;
});

describe('GET_VRING_BASE', () => {
  test('is answered when everything in flight has completed', async () => {
    const gate = new Gate();
    const rig = await ExportRig.start(gate.drive());
    const frontEnd = await rig.connect();
    const queue = frontEnd.queues[0]!;
    const requests = Array.from({ length: 10 }, (_, i) => queue.read(i * 8, 4096));
    await gate.came(10);
    let answered = false;
    const base = frontEnd.getVringBase(0).then((value) => {
      answered = true;
      // Read before anybody takes a completion: all are in the used ring by now.
      return [value, queue.driver.queue.ring.used16[RING_IDX]];
    });
    // Far more than it takes to be answered: the iothread has been asked something else since, ten times.
    for (let i = 0; i < 10; i++) await rig.runtime.queryIOThreads();
    expect(answered).toBe(false);
    gate.open();
    expect(await base).toEqual([10, 10]);
    for (const bytes of await Promise.all(requests)) expectBytes(bytes, new Uint8Array(4096).fill(0xdd));
  });

  test('leaves what was not taken for later', async () => {
    const rig = await ExportRig.start();
    const frontEnd = await rig.connect();
    const queue = frontEnd.queues[0]!;
    await Promise.all(Array.from({ length: 30 }, (_, i) => queue.write(i, pattern(512, i))));
    const base = await frontEnd.getVringBase(0);
    expect(base).toBe(30);
    const waiting = Array.from({ length: 5 }, (_, i) => queue.write(100 + i, pattern(512, i)));
    queue.kick();
    expect(await frontEnd.getVringBase(0)).toBe(30);
    expect(queue.driver.queue.hasUsed()).toBe(false);
    await frontEnd.startQueue(0, base);
    await Promise.all(waiting);
    expect(await frontEnd.getVringBase(0)).toBe(35);
  });

  test('of a ring that never ran is where it was to begin', async () => {
    const rig = await ExportRig.start();
    const frontEnd = await rig.connect({ start: false });
    expect(await frontEnd.getVringBase(0)).toBe(0);
    await frontEnd.requests.tell(Request.SET_VRING_BASE, encodeVringState({ index: 0, num: 7 }));
    expect(await frontEnd.getVringBase(0)).toBe(7);
  });
});

test('indexes go round while rings are stopped and started', async () => {
  const rig = await ExportRig.start();
  const frontEnd = await rig.connect({ queueSize: 8, dataBytes: 512 });
  const queue = frontEnd.queues[0]!;
  let done = 0;
  for (let round = 0; round < 20; round++) {
    for (let i = 0; i < 7; i++) await queue.write(done++ % 100, pattern(512, done));
    const base = await frontEnd.getVringBase(0);
    expect(base).toBe(done);
    await frontEnd.startQueue(0, base);
  }
});

test('the call descriptor changes while requests are in flight', async () => {
  const rig = await ExportRig.start();
  const frontEnd = await rig.connect();
  const queue = frontEnd.queues[0]!;
  const before = openFds();
  await underLoad(
    4,
    async (worker, round) => {
      await queue.write(worker, pattern(512, round));
      expectBytes(await queue.read(worker, 512), pattern(512, round));
    },
    async () => {
      for (let i = 0; i < 50; i++) await frontEnd.replaceCall(0);
    },
  );
  expect(openFds()).toBeLessThanOrEqual(before + 2);
});

test('a call descriptor is signalled once when it is set', async () => {
  const rig = await ExportRig.start();
  const frontEnd = await rig.connect({ start: false });
  const fd = createEventfd();
  try {
    await frontEnd.requests.tell(Request.SET_VRING_CALL, encodeVringFd({ index: 0, hasFd: true }), [fd]);
    expect(waitReadable(fd, 0)).toBe(true);
    clearEventfd(fd);
    await frontEnd.requests.tell(Request.SET_OWNER);
    expect(waitReadable(fd, 0)).toBe(false);
  } finally {
    closeFd(fd);
  }
});

test('a running ring gets another kick descriptor', async () => {
  const rig = await ExportRig.start();
  const frontEnd = await rig.connect();
  const queue = frontEnd.queues[0]!;
  await queue.write(0, pattern(512, 1));
  const kick = createEventfd();
  try {
    await frontEnd.requests.tell(Request.SET_VRING_KICK, encodeVringFd({ index: 0, hasFd: true }), [kick]);
    const reading = queue.read(0, 512);
    signalEventfd(kick);
    expectBytes(await reading, pattern(512, 1));
  } finally {
    closeFd(kick);
  }
});

test('a ring without a kick descriptor is looked at now and then', async () => {
  const rig = await ExportRig.start();
  const frontEnd = await rig.connect();
  const queue = frontEnd.queues[0]!;
  await frontEnd.requests.tell(Request.SET_VRING_KICK, encodeVringFd({ index: 0, hasFd: false }));
  await queue.write(0, pattern(512, 1));
  expectBytes(await queue.read(0, 512), pattern(512, 1));
});

test('a ring that its guest breaks is stopped and told of; the others and the connection go on', async () => {
  const rig = await ExportRig.start(undefined, { numQueues: 2 });
  const reported: string[] = [];
  rig.runtime.on('deviceError', (id, error) => reported.push(`${id}: ${error.message}`));
  const frontEnd = await rig.connect({ numQueues: 2, ...SMALL });
  const err = createEventfd();
  try {
    await frontEnd.setErr(0, err);
    const [broken, sound] = frontEnd.queues;
    broken!.driver.queue.makeAvailable(0xfff0);
    broken!.driver.queue.publish();
    broken!.kick();
    await until('the error descriptor is signalled', () => waitReadable(err, 0));
    await sound!.write(0, pattern(512, 1));
    expectBytes(await sound!.read(0, 512), pattern(512, 1));
    await until('the runtime hears of it', () => reported.length > 0);
    // It can be made anew.
    await frontEnd.getVringBase(0);
    const { ring } = broken!.driver.queue;
    ring.avail.fill(0);
    ring.used16.fill(0);
    await frontEnd.startQueue(0);
    await frontEnd.requests.tell(Request.SET_OWNER);
  } finally {
    closeFd(err);
  }
});

test('a ring begins where memory and its base say', async () => {
  const rig = await ExportRig.start();
  const frontEnd = await rig.connect({ start: false });
  const queue = frontEnd.queues[0]!;
  const { ring } = queue.driver.queue;
  // A driver that has been at it for a while: both indexes stand just before they go round.
  const start = 0xfffe;
  ring.avail[RING_IDX] = start;
  ring.used16[RING_IDX] = start;
  await frontEnd.startQueue(0, start);
  const header = frontEnd.allocator.allocate(16, 16);
  const status = frontEnd.allocator.allocate(1);
  frontEnd.allocator.view(header, 16).setUint32(0, 4, true);
  for (let i = 0; i < 5; i++) {
    const idx = (start + i) & 0xffff;
    queue.driver.queue.writeDescriptor(0, header, 16, 1, 1);
    queue.driver.queue.writeDescriptor(1, status, 1, 2);
    frontEnd.allocator.bytes(status, 1)[0] = 0xff;
    ring.avail[2 + (idx % ring.size)] = 0;
    Atomics.store(ring.avail, RING_IDX, (idx + 1) & 0xffff);
    queue.kick();
    await until(`flush ${i}`, () => Atomics.load(ring.used16, RING_IDX) === ((idx + 1) & 0xffff));
    expect(frontEnd.allocator.bytes(status, 1)[0]).toBe(0);
  }
  expect(await frontEnd.getVringBase(0)).toBe((start + 5) & 0xffff);
});
