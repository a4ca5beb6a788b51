// An export that is paused, since its disk has failed a request: what its front end may do meanwhile, and what becomes of the request.
import { VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_T_OUT } from '@iothreads/core';
import {
  type Completion,
  type FrontEndQueue,
  PROTOCOL_FEATURES,
  ProtocolFeature,
  type VhostUserFrontEnd,
} from '@iothreads/vhost-user/front-end';
import { afterEach, describe, expect, test } from 'vitest';
import { FaultyDisk } from '../../../test/support/faulty-disk.js';
import { until, within } from '../../../test/support/within.js';
import { closeRigs, ExportRig } from './support/export-rig.js';
import { guestMappings } from './support/open-fds.js';

afterEach(closeRigs);

const SMALL = { memoryBytes: 1 << 20, queueSize: 64, dataBytes: 512 } as const;
const SECTORS = [0, 1, 2, 3, 4];

function writeTo(queue: FrontEndQueue, sectors: readonly number[]): Promise<Completion[]> {
  const bytes = (sector: number): Uint8Array => new Uint8Array(512).fill(sector + 1);
  return Promise.all(sectors.map((sector) => queue.request(VIRTIO_BLK_T_OUT, sector, 512, bytes(sector))));
}

const statuses = async (writes: Promise<Completion[]>): Promise<number[]> =>
  (await within(writes, 'the writes')).map(({ status }) => status);

const all = (status: number): number[] => SECTORS.map(() => status);

/** An export whose disk is full, a front end, and its writes. */
async function paused(
  numQueues = 1,
  protocolFeatures = PROTOCOL_FEATURES,
): Promise<{
  disk: FaultyDisk;
  rig: ExportRig;
  frontEnd: VhostUserFrontEnd;
  queue: FrontEndQueue;
  writes: Promise<Completion[]>;
}> {
  const disk = new FaultyDisk();
  const rig = await ExportRig.start(disk.drive, { werror: 'enospc', numQueues });
  rig.runtime.on('ioError', () => undefined);
  const frontEnd = await rig.connect({ ...SMALL, numQueues, protocolFeatures });
  const queue = frontEnd.queues[0]!;
  // All of them are in flight when the first one fails.
  disk.hold();
  const writes = writeTo(queue, SECTORS);
  await disk.came(SECTORS.length);
  disk.fail('ENOSPC');
  disk.letGo();
  await disk.failed(SECTORS.length);
  await until('the pause', () => rig.server.ioStatus === 'nospace');
  for (let i = 0; i < 3; i++) await rig.runtime.queryIOThreads();
  return { disk, rig, frontEnd, queue, writes };
}

test('exports report unless they are told otherwise: nobody may be there to say that they go on', async () => {
  const disk = new FaultyDisk();
  const rig = await ExportRig.start(disk.drive);
  const frontEnd = await rig.connect(SMALL);
  disk.fail('ENOSPC');
  expect(await statuses(writeTo(frontEnd.queues[0]!, SECTORS))).toEqual(all(VIRTIO_BLK_S_IOERR));
  expect(rig.server.ioStatus).toBe('ok');
});

test('what was kept is done in its order when the export goes on', async () => {
  const { disk, rig, queue, writes } = await paused();
  expect(queue.inFlight).toBe(SECTORS.length);
  disk.mend();
  expect(await rig.server.continue()).toBe(true);
  expect(await statuses(writes)).toEqual(all(VIRTIO_BLK_S_OK));
  expect(disk.written).toEqual(SECTORS);
  expect(await rig.server.continue()).toBe(false);
});

describe('meanwhile the front end', () => {
  test('may change its memory, its rings and its eventfds, and the operator the iothread', async () => {
    const { disk, rig, frontEnd, queue, writes } = await paused();
    await frontEnd.setMemTable(frontEnd.regions);
    await frontEnd.replaceCall(0);
    await frontEnd.setAddresses(0, queue.addresses);
    await rig.runtime.moveDevice('disk', 'iothread1');
    await frontEnd.setMemTable(frontEnd.regions);
    expect(rig.server.ioStatus).toBe('nospace');
    expect(queue.inFlight).toBe(SECTORS.length);
    disk.mend();
    await rig.server.continue();
    expect(await statuses(writes)).toEqual(all(VIRTIO_BLK_S_OK));
    expect(disk.written).toEqual(SECTORS);
  });

  test('stops a ring: what is kept fails, and the others stay paused', async () => {
    const { disk, rig, frontEnd, writes } = await paused(2);
    const behind = writeTo(frontEnd.queues[1]!, [7]);
    expect(await within(frontEnd.getVringBase(0), 'an answer')).toBe(SECTORS.length);
    expect(await statuses(writes)).toEqual(all(VIRTIO_BLK_S_IOERR));
    expect(rig.server.ioStatus).toBe('nospace');
    disk.mend();
    await rig.server.continue();
    expect((await within(behind, 'the write'))[0]!.status).toBe(VIRTIO_BLK_S_OK);
    await frontEnd.startQueue(0, SECTORS.length);
    await frontEnd.queues[0]!.write(9, new Uint8Array(512));
    expect(disk.written).toEqual([7, 9]);
  });

  test('stops all rings, as QEMU does when its machine stops or starts anew: the pause ends with them', async () => {
    const { disk, rig, frontEnd, queue, writes } = await paused();
    await frontEnd.setEnable(0, false);
    expect(await statuses(writes)).toEqual(all(VIRTIO_BLK_S_IOERR));
    const base = await within(frontEnd.getVringBase(0), 'an answer');
    expect(rig.server.ioStatus).toBe('ok');
    disk.mend();
    await frontEnd.startQueue(0, base);
    await queue.write(9, new Uint8Array(512));
    expect(disk.written).toEqual([9]);
  });

  test('leaves: nobody waits, its memory is let go of, and the next one is served', async () => {
    const before = guestMappings();
    const { disk, rig, frontEnd } = await paused();
    await frontEnd.close();
    await until('nobody is connected', () => !rig.server.connected);
    expect(guestMappings()).toBe(before);
    expect(rig.server.ioStatus).toBe('ok');
    disk.mend();
    await (await rig.connect(SMALL)).queues[0]!.write(9, new Uint8Array(512));
    expect(disk.written).toEqual([9]);
  });
});

describe('a paused export can be closed', () => {
  test('and what it has kept is left to the next one, which may have to keep it as well', async () => {
    const { disk, rig, frontEnd, queue, writes } = await paused();
    await within(rig.server.close(), 'its end');
    expect(queue.inFlight).toBe(SECTORS.length);
    rig.server = await rig.export({ werror: 'enospc' });
    await frontEnd.reconnect(rig.path);
    await until('the next pause', () => rig.server.ioStatus === 'nospace');
    for (let i = 0; i < 3; i++) await rig.runtime.queryIOThreads();
    // Kept, and in the table of what is in flight: done once for all that.
    await frontEnd.setMemTable(frontEnd.regions);
    disk.mend();
    await rig.server.continue();
    expect(await statuses(writes)).toEqual(all(VIRTIO_BLK_S_OK));
    expect(disk.written).toEqual(SECTORS);
    const more = writeTo(queue, [20, 21]);
    expect(await statuses(more)).toEqual([VIRTIO_BLK_S_OK, VIRTIO_BLK_S_OK]);
  });

  test('and where the next one can not know of what it has kept, that fails', async () => {
    const without = PROTOCOL_FEATURES & ~(1n << BigInt(ProtocolFeature.INFLIGHT_SHMFD));
    const { rig, writes } = await paused(1, without);
    await within(rig.server.close(), 'its end');
    expect(await statuses(writes)).toEqual(all(VIRTIO_BLK_S_IOERR));
  });
});

test('an export whose request hangs is closed within its deadline, and its memory stays mapped', async () => {
  const disk = new FaultyDisk();
  const rig = await ExportRig.start(disk.drive, { drainTimeoutMs: 100, werror: 'stop' });
  const before = guestMappings();
  const frontEnd = await rig.connect(SMALL);
  disk.hold();
  void writeTo(frontEnd.queues[0]!, SECTORS);
  await disk.came(SECTORS.length);
  await within(rig.server.close(), 'its end');
  await frontEnd.close();
  // The front end's own is gone.
  expect(guestMappings()).toBe(before + 1);
  expect(rig.messages('error').at(-1)).toContain('its memory stays mapped');
  // It answers after all: into memory that is still there.
  disk.letGo();
  await until('the writes', () => disk.written.length === SECTORS.length);
  await rig.runtime.queryIOThreads();
});
