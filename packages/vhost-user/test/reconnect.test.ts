// Front ends come and go, one at a time, for ever.
import { RING_IDX, VIRTIO_BLK_T_IN } from '@iothreads/core';
import { closeFd, connectUnix } from '@iothreads/linux';
import { afterEach, expect, test } from 'vitest';
import { closeRigs, ExportRig } from './support/export-rig.js';
import { Gate } from '../../../test/support/gate.js';
import { guestMappings, openFds } from './support/open-fds.js';
import { expectBytes, pattern } from './support/pattern.js';
import { underLoad } from './support/under-load.js';
import { until } from '../../../test/support/within.js';

afterEach(closeRigs);

const SMALL = { memoryBytes: 1 << 20, queueSize: 16, dataBytes: 4096 } as const;

test('two hundred connections, with and without a farewell, leak nothing', async () => {
  const rig = await ExportRig.start(undefined, { iothreads: ['iothread0', 'iothread1'], numQueues: 2 });
  let fds = 0;
  let mappings = 0;
  for (let i = 0; i < 200; i++) {
    const frontEnd = await rig.connect({ ...SMALL, numQueues: 2, memorySlots: i % 2 === 0 });
    const [a, b] = frontEnd.queues;
    await a!.write(i, pattern(512, i));
    expectBytes(await b!.read(i, 512), pattern(512, i));
    if (i % 3 === 0) await frontEnd.getVringBase(0);
    // Requests that nobody waits for any more.
    if (i % 3 === 1) for (let k = 0; k < 4; k++) void a!.read(k, 4096);
    await frontEnd.close();
    if (i !== 20) continue;
    await until('nobody is connected', () => !rig.server.connected);
    fds = openFds();
    mappings = guestMappings();
  }
  await until('nobody is connected', () => !rig.server.connected);
  expect(openFds()).toBe(fds);
  expect(guestMappings()).toBe(mappings);
  expect(rig.messages('error')).toEqual([]);
});

test('connections without a word are not told of, and leak nothing', async () => {
  const rig = await ExportRig.start();
  await (await rig.connect(SMALL)).close();
  await until('nobody is connected', () => !rig.server.connected);
  const fds = openFds();
  const lines = rig.lines.length;
  for (let i = 0; i < 200; i++) {
    const fd = connectUnix(rig.path);
    await until('taken', () => rig.server.connected);
    closeFd(fd);
    await until('let go', () => !rig.server.connected);
  }
  expect(openFds()).toBe(fds);
  expect(rig.lines).toHaveLength(lines);
});

test('the next front end is served when the one before has left', async () => {
  const rig = await ExportRig.start();
  const first = await rig.connect(SMALL);
  let served = false;
  const second = rig.connect(SMALL).then((frontEnd) => {
    served = true;
    return frontEnd;
  });
  for (let i = 0; i < 20; i++) await first.queues[0]!.write(i, pattern(512, i));
  expect(served).toBe(false);
  await first.close();
  expectBytes(await (await second).queues[0]!.read(19, 512), pattern(512, 19));
});

test('a front end leaves with requests in flight: its memory stays until they are done', async () => {
  const gate = new Gate();
  const rig = await ExportRig.start(gate.drive(), { drainTimeoutMs: 50 });
  const before = guestMappings();
  const frontEnd = await rig.connect(SMALL);
  for (let i = 0; i < 3; i++) void frontEnd.queues[0]!.read(i, 512);
  await gate.came(3);
  await frontEnd.close();
  await until('told of', () => rig.messages('error').length >= 2);
  expect(rig.messages('error')[0]).toContain('waiting on');
  // The front end's own mapping is gone; the back end's is not.
  expect(guestMappings()).toBe(before + 1);
  gate.open();
  await until('nobody is connected', () => !rig.server.connected);
  expect(guestMappings()).toBe(before);
  const next = await rig.connect(SMALL);
  expectBytes(await next.queues[0]!.read(0, 512), new Uint8Array(512).fill(0xdd));
});

test('an export closes although requests never complete', async () => {
  const gate = new Gate();
  const rig = await ExportRig.start(gate.drive(), { drainTimeoutMs: 50 });
  const frontEnd = await rig.connect(SMALL);
  void frontEnd.queues[0]!.read(0, 512);
  await gate.came(1);
  const fds = openFds();
  await rig.server.close();
  expect(rig.messages('error').join()).toContain('its memory stays mapped');
  expect(await frontEnd.requests.receive()).toBeUndefined();
  expect(openFds()).toBeLessThan(fds);
  gate.open();
});

test('an export closes while a front end is connected', async () => {
  const rig = await ExportRig.start();
  const frontEnd = await rig.connect(SMALL);
  await frontEnd.queues[0]!.write(0, pattern(512, 1));
  await rig.server.close();
  await rig.server.close();
  expect(await frontEnd.requests.receive()).toBeUndefined();
  expect(await rig.runtime.queryBlockStats()).toEqual([]);
  // The same again under the same name and path.
  rig.server = await rig.export();
  const next = await rig.connect(SMALL);
  expectBytes(await next.queues[0]!.read(0, 512), pattern(512, 1));
});

test('an export moves to another iothread while a front end is served', async () => {
  const rig = await ExportRig.start();
  const frontEnd = await rig.connect(SMALL);
  const queue = frontEnd.queues[0]!;
  await underLoad(
    4,
    async (worker, round) => {
      await queue.write(worker * 8, pattern(4096, round));
      expectBytes(await queue.read(worker * 8, 4096), pattern(4096, round));
    },
    async () => {
      for (let i = 0; i < 10; i++) await rig.runtime.moveDevice('disk', `iothread${(i + 1) % 2}`);
      await frontEnd.replaceCall(0);
    },
  );
  const before = queue.driver.queue.ring.used16[1];
  await queue.write(0, pattern(512, 1));
  expect(queue.driver.queue.ring.used16[1]).toBe((before! + 1) & 0xffff);
});

test('the rings stand still when the connection ends: the front end looks there for where to go on', async () => {
  const rig = await ExportRig.start({ driver: 'null', latencyNs: 50_000_000 });
  const frontEnd = await rig.connect({ ...SMALL, depth: 4 });
  const queue = frontEnd.queues[0]!;
  const { driver } = queue;
  const { used16 } = driver.queue.ring;
  let busy = true;
  const load = (): void => {
    // Guest memory is gone when the test is over.
    if (!busy) return;
    while (driver.takeDone() !== -1);
    for (let slot = driver.takeSlot(); slot !== -1; slot = driver.takeSlot())
      driver.start(slot, VIRTIO_BLK_T_IN, 0, 512);
    if (driver.publish()) queue.kick();
    setImmediate(load);
  };
  driver.queue.disableInterrupts();
  load();
  await until('requests', () => used16[RING_IDX]! > 4);
  const ended = frontEnd.requests.receive();
  const closed = rig.server.close();
  expect(await ended).toBeUndefined();
  const usedIdx = used16[RING_IDX];
  await closed;
  busy = false;
  expect(used16[RING_IDX]).toBe(usedIdx);
});
