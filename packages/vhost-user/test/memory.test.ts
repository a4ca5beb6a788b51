// Where guest memory is: several regions, files that begin elsewhere, slots that come and go while requests are served.
import { VIRTIO_BLK_T_OUT, VIRTIO_BLK_S_OK } from '@iothreads/core';
import {
  encodeVringState,
  type FrontEndQueue,
  ProtocolFeature,
  Request,
  SharedRegion,
  type VhostUserFrontEnd,
} from '@iothreads/vhost-user/front-end';
import { afterEach, describe, expect, test } from 'vitest';
import { closeRigs, ExportRig } from './support/export-rig.js';
import { guestMappings, undumpedGuestMappings } from './support/open-fds.js';
import { expectBytes, pattern } from './support/pattern.js';
import { underLoad } from './support/under-load.js';
import { until } from '../../../test/support/within.js';

afterEach(closeRigs);

const MIB = 1 << 20;

/** A write whose data lies at any guest address. @returns its status */
async function writeFrom(
  frontEnd: VhostUserFrontEnd,
  queue: FrontEndQueue,
  sector: number,
  data: number,
  byteLength: number,
): Promise<number> {
  const { allocator } = frontEnd;
  const header = allocator.allocate(16, 16);
  const status = allocator.allocate(1);
  allocator.view(header, 16).setUint32(0, VIRTIO_BLK_T_OUT, true);
  allocator.view(header, 16).setUint32(8, sector, true);
  allocator.bytes(status, 1)[0] = 0xff;
  const ring = queue.driver.queue;
  ring.add([
    { address: header, byteLength: 16, writable: false },
    { address: data, byteLength, writable: false },
    { address: status, byteLength: 1, writable: true },
  ]);
  if (ring.publish()) queue.kick();
  await until('completion', () => ring.hasUsed());
  ring.takeUsed();
  return allocator.bytes(status, 1)[0]!;
}

describe.each([
  ['a table', { memorySlots: false }],
  ['slots', { memorySlots: true }],
])('%s', (_, { memorySlots }) => {
  test('regions, one behind another in its file, one beyond 4 GiB, and a buffer across two', async () => {
    const rig = await ExportRig.start();
    const regions = [
      { guestAddress: 0, size: MIB },
      { guestAddress: MIB, size: MIB, fileOffset: 12288 + 8 },
      { guestAddress: 2 ** 32 + 4096, size: 4 * MIB, fileOffset: MIB },
    ];
    const frontEnd = await rig.connect({
      regions,
      memorySlots,
      numQueues: 2,
      dataBytes: 65536,
      queueSize: 64,
    });
    for (const [i, queue] of frontEnd.queues.entries()) {
      const depth = queue.driver.depth;
      await Promise.all(
        Array.from({ length: depth }, (__, k) => queue.write(k * 128, pattern(65536, i + k))),
      );
      for (let k = 0; k < depth; k++) expectBytes(await queue.read(k * 128, 65536), pattern(65536, i + k));
    }
    // The first region has no room for the buffers of the second queue.
    expect(frontEnd.regions[1]!.bytes.some((byte) => byte !== 0)).toBe(true);
    const [low, high] = frontEnd.regions;
    const buffer = pattern(8192, 77);
    low!.bytes.set(buffer.subarray(0, 512), low!.size - 512);
    high!.bytes.set(buffer.subarray(512), 0);
    expect(await writeFrom(frontEnd, frontEnd.queues[1]!, 40, MIB - 512, 8192)).toBe(VIRTIO_BLK_S_OK);
    expectBytes(await frontEnd.queues[0]!.read(40, 8192), buffer);
  });
});

test('rings beyond 4 GiB, and in the middle of a file', async () => {
  const rig = await ExportRig.start();
  const regions = [{ guestAddress: 2 ** 33 + 8, size: 16 * MIB, fileOffset: 12288 + 8 }];
  const frontEnd = await rig.connect({ regions });
  await frontEnd.queues[0]!.write(0, pattern(65536, 3));
  expectBytes(await frontEnd.queues[0]!.read(0, 65536), pattern(65536, 3));
});

test('slots are added and removed while requests are served', async () => {
  const before = guestMappings();
  const rig = await ExportRig.start();
  const frontEnd = await rig.connect({ memorySlots: true });
  const queue = frontEnd.queues[0]!;
  let rounds = 0;
  const added: SharedRegion[] = [];
  await underLoad(
    8,
    async (worker, round) => {
      const sector = worker * 128;
      await queue.write(sector, pattern(4096, worker + round));
      expectBytes(await queue.read(sector, 4096), pattern(4096, worker + round));
      rounds++;
    },
    async () => {
      for (let round = 0; round < 15; round++) {
        const region = new SharedRegion({ guestAddress: (32 + round) * MIB, size: MIB });
        added.push(region);
        await frontEnd.addMemReg(region);
        if (round % 3 === 2) await frontEnd.remMemReg(added[round - 1]!);
      }
      const seen = rounds;
      await until('requests after the last change', () => rounds > seen);
    },
  );
  // Mapped twice in this process, by either side; once where the back end has let go of it.
  expect(guestMappings() - before).toBe(2 * 1 + 15 + 10);
  for (const region of added) region.close();
  await frontEnd.close();
  await until('the memory unmapped', () => guestMappings() === before);
  expect(rig.messages('warning')).toEqual([]);
});

test('memory that was added is used at once, and not any more when it was removed', async () => {
  const rig = await ExportRig.start();
  const frontEnd = await rig.connect({ memorySlots: true });
  const queue = frontEnd.queues[0]!;
  const region = new SharedRegion({ guestAddress: 64 * MIB, size: MIB });
  try {
    region.bytes.set(pattern(4096, 5));
    expect(await writeFrom(frontEnd, queue, 0, 64 * MIB, 4096)).not.toBe(VIRTIO_BLK_S_OK);
    await frontEnd.addMemReg(region);
    expect(await writeFrom(frontEnd, queue, 0, 64 * MIB, 4096)).toBe(VIRTIO_BLK_S_OK);
    await frontEnd.remMemReg(region);
    expect(await writeFrom(frontEnd, queue, 0, 64 * MIB, 4096)).not.toBe(VIRTIO_BLK_S_OK);
  } finally {
    region.close();
  }
});

test('another table while a ring runs: it goes on', async () => {
  const rig = await ExportRig.start();
  const frontEnd = await rig.connect();
  const queue = frontEnd.queues[0]!;
  await queue.write(0, pattern(4096, 1));
  const more = new SharedRegion({ guestAddress: 64 * MIB, size: MIB });
  try {
    await frontEnd.setMemTable([more, ...frontEnd.regions]);
    expectBytes(await queue.read(0, 4096), pattern(4096, 1));
    await frontEnd.setMemTable(frontEnd.regions);
    expectBytes(await queue.read(0, 4096), pattern(4096, 1));
  } finally {
    more.close();
  }
});

test('memory without the ring: refused, and the ring works again with it', async () => {
  const rig = await ExportRig.start();
  const frontEnd = await rig.connect();
  const queue = frontEnd.queues[0]!;
  await queue.write(0, pattern(512, 1));
  const elsewhere = new SharedRegion({ guestAddress: 64 * MIB, size: MIB });
  try {
    await expect(frontEnd.setMemTable([elsewhere])).rejects.toMatchObject({ code: 'ERR_REFUSED' });
  } finally {
    elsewhere.close();
  }
  expect(rig.messages('warning').join()).toContain('SET_MEM_TABLE: descriptor table of ring 0');
  // Another message is not to blame for it.
  await frontEnd.requests.tell(Request.SET_VRING_NUM, encodeVringState({ index: 1, num: 64 }));
  await frontEnd.setMemTable(frontEnd.regions);
  expectBytes(await queue.read(0, 512), pattern(512, 1));
});

test('as many slots as are offered, and no more', async () => {
  const rig = await ExportRig.start();
  const frontEnd = await rig.connect({ memorySlots: true });
  expect(frontEnd.has(ProtocolFeature.CONFIGURE_MEM_SLOTS)).toBe(true);
  const answer = await frontEnd.requests.ask(Request.GET_MAX_MEM_SLOTS);
  const slots = new DataView(answer.buffer, answer.byteOffset).getUint32(0, true);
  expect(slots).toBe(509);
  // One file for all.
  const file = new SharedRegion({ guestAddress: 0, size: slots * 4096 });
  const slot = (i: number): SharedRegion =>
    Object.assign(Object.create(file) as SharedRegion, {
      guestAddress: 64 * MIB + i * 8192,
      size: 4096,
      userAddress: file.userAddress + i * 4096,
      mmapOffset: i * 4096,
      fd: file.fd,
    });
  try {
    for (let i = 0; i < slots - 1; i++) await frontEnd.addMemReg(slot(i));
    await expect(frontEnd.addMemReg(slot(slots - 1))).rejects.toMatchObject({ code: 'ERR_REFUSED' });
    await frontEnd.queues[0]!.write(0, pattern(512, 9));
    expectBytes(await frontEnd.queues[0]!.read(0, 512), pattern(512, 9));
  } finally {
    file.close();
  }
});

test('guest memory is left out of core dumps', async () => {
  const rig = await ExportRig.start();
  const frontEnd = await rig.connect();
  expect(await frontEnd.queues[0]!.read(0, 512)).toHaveLength(512);
  // The front end's own mapping is in this process, too.
  expect([guestMappings(), undumpedGuestMappings()]).toEqual([2, 1]);
});
