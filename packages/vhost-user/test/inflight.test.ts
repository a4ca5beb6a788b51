// The region in which requests in flight are kept track of: how it is made, handed over, and refused.
import { holdDrive } from '@iothreads/backends';
import { InflightTable, RING_IDX } from '@iothreads/core';
import { closeFd, createEventfd, createMemfd } from '@iothreads/linux';
import {
  decodeInflight,
  decodeVringState,
  encodeInflight,
  encodeVringState,
  type InflightDescription,
  PROTOCOL_FEATURES,
  ProtocolFeature,
  Request,
} from '@iothreads/vhost-user/front-end';
import { ftruncateSync } from 'node:fs';
import { afterEach, describe, expect, test } from 'vitest';
import { Gate } from '../../../test/support/gate.js';
import { until } from '../../../test/support/within.js';
import { closeRigs, ExportRig } from './support/export-rig.js';
import { guestMappings, openFds } from './support/open-fds.js';
import { expectBytes, pattern } from './support/pattern.js';

afterEach(closeRigs);

const SMALL = { queueSize: 16, depth: 4, dataBytes: 4096, memoryBytes: 1 << 20 } as const;
const INFLIGHT = 1n << BigInt(ProtocolFeature.INFLIGHT_SHMFD);

describe('the answer to GET_INFLIGHT_FD', () => {
  test.each([20, 24])(
    'to a question of %i bytes has as many, and brings memory of a fixed size',
    async (bytes) => {
      const rig = await ExportRig.start(undefined, { numQueues: 4 });
      const { requests } = await rig.connect(SMALL);
      const question = encodeInflight({ mmapSize: 0, mmapOffset: 0, numQueues: 4, queueSize: 256 }, bytes);
      const { payload, fd } = await requests.askForFd(Request.GET_INFLIGHT_FD, question);
      expect(payload).toHaveLength(bytes);
      const mmapSize = 4 * InflightTable.bytesFor(256);
      expect(decodeInflight(payload)).toEqual({ mmapSize, mmapOffset: 0, numQueues: 4, queueSize: 256 });
      expect(() => ftruncateSync(fd, 0)).toThrow('EPERM');
      closeFd(fd);
    },
  );

  test('leaves nothing open, however often it is asked for', async () => {
    const rig = await ExportRig.start();
    const { requests } = await rig.connect(SMALL);
    const fds = openFds();
    const question = encodeInflight({ mmapSize: 0, mmapOffset: 0, numQueues: 1, queueSize: 16 });
    for (let i = 0; i < 100; i++) closeFd((await requests.askForFd(Request.GET_INFLIGHT_FD, question)).fd);
    expect(openFds()).toBe(fds);
  });
});

test('a front end that does without is served', async () => {
  const rig = await ExportRig.start();
  const frontEnd = await rig.connect({ ...SMALL, protocolFeatures: PROTOCOL_FEATURES & ~INFLIGHT });
  expect(frontEnd.inflight).toBeUndefined();
  await frontEnd.queues[0]!.write(0, pattern(512, 1));
  await expect(
    frontEnd.requests.tell(Request.SET_INFLIGHT_FD, encodeInflight(region()), [createMemfd('region', 4096)]),
  ).rejects.toThrow('refused');
});

test('an export that closes with requests in flight leaves them to the next one', async () => {
  const gate = new Gate();
  const rig = await ExportRig.start(gate.drive(), { drainTimeoutMs: 50 });
  const frontEnd = await rig.connect(SMALL);
  const reads = [0, 1, 2].map((sector) => frontEnd.queues[0]!.read(sector, 512));
  await gate.came(3);
  await rig.server.close();
  gate.open();
  rig.server = await rig.export();
  await frontEnd.reconnect(rig.path);
  for (const data of await Promise.all(reads)) expectBytes(data, new Uint8Array(512).fill(0xdd));
});

test('what a region says was in flight is taken in turns, no more at a time than may be in flight', async () => {
  const most = 4096;
  const count = most + 100;
  const gate = new Gate();
  const rig = await ExportRig.start(gate.drive(), { drainTimeoutMs: 50 });
  const frontEnd = await rig.connect({
    queueSize: 16384,
    depth: count,
    dataBytes: 512,
    memoryBytes: 16 << 20,
  });
  const reads = Array.from({ length: count }, () => frontEnd.queues[0]!.read(0, 512));
  await gate.came(most);
  await rig.server.close();
  // As if they had all been taken.
  const table = frontEnd.inflight!.bytes;
  const { driver } = frontEnd.queues[0]!;
  const { avail } = driver.queue.ring;
  for (let i = 0; i < count; i++) table[16 + 16 * avail[2 + i]!] = 1;
  const next = new Gate();
  await rig.drive.close();
  rig.drive = await holdDrive(next.drive());
  rig.server = await rig.export();
  await frontEnd.reconnect(rig.path);
  await next.came(most);
  for (let i = 0; i < 20; i++) await rig.runtime.queryIOThreads();
  expect(next.arrived).toBe(most);
  // A ring that is to stop does all of it before.
  const base = frontEnd.requests.ask(Request.GET_VRING_BASE, encodeVringState({ index: 0, num: 0 }));
  next.open();
  expect(decodeVringState(await base)).toEqual({ index: 0, num: count });
  expect(driver.queue.ring.used16[1]).toBe(count);
  for (const data of await Promise.all(reads)) expectBytes(data, new Uint8Array(512).fill(0xdd));
  gate.open();
});

test('what was completed and not called for is called for after a reconnect', async () => {
  const rig = await ExportRig.start();
  const frontEnd = await rig.connect(SMALL);
  const queue = frontEnd.queues[0]!;
  // The call of its completion is lost: nobody listens yet.
  const slot = queue.driver.takeSlot();
  queue.driver.start(slot, 0, 0, 512);
  queue.driver.publish();
  queue.kick();
  await until('the completion', () => queue.driver.queue.hasUsed());
  expect(queue.waitForCall(10_000)).toBe(true);
  await rig.server.close();
  rig.server = await rig.export();
  await frontEnd.reconnect(rig.path);
  expect(queue.waitForCall(10_000)).toBe(true);
  expect(queue.driver.takeDone()).toBe(slot);
});

test('another region takes its place while requests are served', async () => {
  const rig = await ExportRig.start();
  const frontEnd = await rig.connect(SMALL);
  const mappings = guestMappings();
  const first = frontEnd.inflight!;
  for (let i = 0; i < 10; i++) {
    await frontEnd.queues[0]!.write(i, pattern(512, i));
    await first.handOver(frontEnd.requests);
  }
  expectBytes(await frontEnd.queues[0]!.read(9, 512), pattern(512, 9));
  expect(guestMappings()).toBe(mappings);
});

const region = (fields: Partial<InflightDescription> = {}): InflightDescription => ({
  mmapSize: 4096,
  mmapOffset: 0,
  numQueues: 1,
  queueSize: 16,
  ...fields,
});

interface Mistake {
  readonly payload: Uint8Array;
  readonly fd?: () => number;
  readonly says: string;
}

const mistakes: Readonly<Record<string, Mistake>> = {
  'a payload of 19 bytes': { payload: new Uint8Array(19), says: '19 bytes instead of 20 or 24' },
  'no queues': { payload: encodeInflight(region({ numQueues: 0 })), says: 'of 0 queues' },
  'queues without a descriptor': { payload: encodeInflight(region({ queueSize: 0 })), says: 'size 0' },
  'queues larger than there are': {
    payload: encodeInflight(region({ queueSize: 32769 })),
    says: 'size 32769',
  },
  'fewer bytes than its queues take': {
    payload: encodeInflight(region({ mmapSize: 256 })),
    says: 'has 256 bytes instead of 320',
  },
  'a region beyond its file': {
    payload: encodeInflight(region({ mmapOffset: 4096 })),
    says: "reaches beyond the file's 4096",
  },
  'a region at an odd offset': {
    payload: encodeInflight(region({ mmapOffset: 4 })),
    says: 'must be a multiple of 8',
  },
  'an offset that wraps': {
    payload: encodeInflight(region({ mmapOffset: Number.MAX_SAFE_INTEGER - 7 })),
    says: 'reaches beyond',
  },
  'what is no file': { payload: encodeInflight(region()), fd: createEventfd, says: 'is no file' },
};

test.each(Object.keys(mistakes))('%s: refused, and the connection goes on', async (name) => {
  const { payload, fd = () => createMemfd('region', 4096), says } = mistakes[name]!;
  const rig = await ExportRig.start();
  const frontEnd = await rig.connect(SMALL);
  const fds = openFds();
  const mine = fd();
  await expect(frontEnd.requests.tell(Request.SET_INFLIGHT_FD, payload, [mine])).rejects.toThrow('refused');
  closeFd(mine);
  expect(rig.messages('warning').join('\n')).toContain(says);
  expect(openFds()).toBe(fds);
  await frontEnd.queues[0]!.write(0, pattern(512, 1));
  expectBytes(await frontEnd.queues[0]!.read(0, 512), pattern(512, 1));
});

test.each([
  ['too few queues', { numQueues: 1, queueSize: 16 }, 'there is room for 1 of size 16'],
  ['too small queues', { numQueues: 2, queueSize: 8 }, 'there is room for 2 of size 8'],
] as const)('a region for %s: those rings are not started', async (_, fields, says) => {
  const rig = await ExportRig.start();
  const frontEnd = await rig.connect({ ...SMALL, numQueues: 2 });
  const fd = createMemfd('region', 4096);
  const payload = encodeInflight(region(fields));
  await expect(frontEnd.requests.tell(Request.SET_INFLIGHT_FD, payload, [fd])).rejects.toThrow('refused');
  closeFd(fd);
  expect(rig.messages('warning').join('\n')).toContain(says);
});

test('a table that can not be: its ring is not started, and another region mends it', async () => {
  const rig = await ExportRig.start();
  const frontEnd = await rig.connect(SMALL);
  await frontEnd.queues[0]!.write(0, pattern(512, 1));
  await frontEnd.setEnable(0, false);
  const { bytes } = frontEnd.inflight!;
  bytes[8] = 7;
  await expect(frontEnd.setEnable(0, true)).rejects.toThrow('refused');
  expect(rig.messages('warning').join('\n')).toContain('is of version 7');
  const fd = createMemfd('region', 4096);
  await frontEnd.requests.tell(Request.SET_INFLIGHT_FD, encodeInflight(region()), [fd]);
  closeFd(fd);
  expectBytes(await frontEnd.queues[0]!.read(0, 512), pattern(512, 1));
});

test('a ring that is started again goes on where its front end says, as one without a region does', async () => {
  const rig = await ExportRig.start();
  const frontEnd = await rig.connect(SMALL);
  const { driver } = frontEnd.queues[0]!;
  await frontEnd.queues[0]!.write(0, pattern(512, 1));
  // Two entries that are good for nothing are skipped.
  driver.queue.makeAvailable(40);
  driver.queue.makeAvailable(41);
  const base = await frontEnd.getVringBase(0);
  driver.publish();
  await frontEnd.startQueue(0, base + 2);
  expectBytes(await frontEnd.queues[0]!.read(0, 512), pattern(512, 1));
});

test('whatever base a front end names after a crash, the ring goes on behind what was done', async () => {
  const rig = await ExportRig.start();
  const frontEnd = await rig.connect(SMALL);
  for (let i = 0; i < 5; i++) await frontEnd.queues[0]!.write(i, pattern(512, i));
  await rig.server.close();
  rig.server = await rig.export();
  const read = frontEnd.queues[0]!.read(4, 512);
  await frontEnd.reconnect(rig.path, () => 0);
  expectBytes(await read, pattern(512, 4));
});

test('a ring that is stopped right after a crash has done what was in flight', async () => {
  const gate = new Gate();
  const rig = await ExportRig.start(gate.drive(), { drainTimeoutMs: 50 });
  const depth = 40;
  const frontEnd = await rig.connect({ ...SMALL, queueSize: 128, depth, dataBytes: 512 });
  const reads = Array.from({ length: depth }, (_, sector) => frontEnd.queues[0]!.read(sector, 512));
  await gate.came(depth);
  await rig.server.close();
  gate.open();
  rig.server = await rig.export();
  await frontEnd.reconnect(rig.path);
  expect(await frontEnd.getVringBase(0)).toBe(depth);
  expect(frontEnd.queues[0]!.driver.queue.ring.used16[RING_IDX]).toBe(depth);
  for (const data of await Promise.all(reads)) expectBytes(data, new Uint8Array(512).fill(0xdd));
});
