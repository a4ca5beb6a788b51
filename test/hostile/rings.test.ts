// What a guest can do wrong with its rings, and its front end with starting them, at a real daemon. A broken ring stops and its
// error eventfd is signalled; the connection and its other rings go on.
import {
  featureSet,
  MAX_QUEUE_SIZE,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_IN,
  VIRTIO_F_VERSION_1,
  type VirtqueueAddresses,
} from '@iothreads/core';
import {
  encodeU64,
  encodeVringAddress,
  encodeVringFd,
  encodeVringState,
  Request,
  VhostUserFrontEnd,
} from '@iothreads/vhost-user/front-end';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { brokenRings, heldHead } from '../../packages/core/test/robustness/broken-rings.js';
import { NEXT, WRITE } from '../../packages/core/test/robustness/hostile-guest.js';
import { misplacedRings, wellPlaced } from '../../packages/core/test/robustness/misplaced-rings.js';
import { dataOf, headerOf, onDisk, statusOf } from '../../packages/core/test/robustness/row.js';
import type { GuestRange } from '../../packages/core/test/support/memory-snapshot.js';
import { until } from '../support/within.js';
import { DaemonGuest } from './support/daemon-guest.js';
import { HostileDaemon } from './support/hostile-daemon.js';
import type { HostileDisk } from './support/hostile-disk.js';

let daemon: HostileDaemon;
let disk: HostileDisk;

beforeAll(async () => {
  daemon = await HostileDaemon.start({ victim: {} });
  disk = daemon.disk('victim');
});

afterAll(() => daemon[Symbol.asyncDispose]());

/** The second ring of the connection is served. */
async function expectSoundRing(guest: DaemonGuest): Promise<void> {
  expect(await guest.frontEnd.queues[1]!.read(2, 512)).toEqual(onDisk(1024, 512));
}

describe('a ring that can not be trusted is broken', () => {
  test.each([...brokenRings, heldHead])('$what', async ({ heads, availIdx, taken }) => {
    {
      await using guest = await DaemonGuest.connect(disk, {}, { numQueues: 2 });
      const offered = heads(guest);
      guest.lie(offered, availIdx);
      await until('the error eventfd', () => guest.broken);
      await daemon.expectNeighbourServed();
      await until('what was taken completes', () => guest.usedIdx === taken);
      const own: GuestRange[] =
        taken === 0
          ? []
          : [
              [guest.data, 512],
              [guest.status, 1],
            ];
      expect(guest.strayWrites(...own)).toEqual([]);
      // Whatever the driver does to put it right: nothing is taken any more.
      guest.availIdx = taken + 1;
      guest.frontEnd.queues[0]!.kick();
      await expectSoundRing(guest);
      await daemon.expectNeighbourServed();
      expect(guest.usedIdx).toBe(taken);
      expect(await guest.stop()).toBe(taken);
      expect(guest.usedIdx).toBe(taken);
      expect(disk.isFresh).toBe(true);
      await guest.startAnew(offered.length);
      expect(await guest.stillWorks()).toBe(true);
      await expectSoundRing(guest);
    }
    await daemon.expectUnharmed(disk);
  });
});

/** Tells of the first ring as a front end does, but for enabling it. What is outside of memory is told as it is. */
async function describeRing(guest: DaemonGuest, { size, ...places }: VirtqueueAddresses): Promise<void> {
  const { requests, regions, queues } = guest.frontEnd;
  const toUser = (address: number): number => {
    const region = regions.find(
      (each) => address >= each.guestAddress && address < each.guestAddress + each.size,
    );
    return region === undefined ? address : guest.frontEnd.userAddress(address);
  };
  await requests.tell(Request.SET_VRING_NUM, encodeVringState({ index: 0, num: size }));
  await requests.tell(
    Request.SET_VRING_ADDR,
    encodeVringAddress({
      index: 0,
      descriptorTable: toUser(places.descriptorTable),
      availRing: toUser(places.availRing),
      usedRing: toUser(places.usedRing),
    }),
  );
  await requests.tell(Request.SET_VRING_KICK, encodeVringFd({ index: 0, hasFd: true }), [queues[0]!.kickFd]);
}

/** Front end of two rings, of which the second is served. */
async function connectHalf(): Promise<DaemonGuest> {
  const guest = await DaemonGuest.connect(disk, {}, { numQueues: 2, start: false });
  await guest.frontEnd.startQueue(1);
  return guest;
}

describe('a ring that can not be served is refused', () => {
  const sizes = [0, 3, MAX_QUEUE_SIZE + 1, MAX_QUEUE_SIZE * 2, 2 ** 31].map(
    (size) => [`size ${size}`, { ...wellPlaced, size }] as const,
  );

  test.each([...sizes, ...misplacedRings])('%s', async (_what, addresses) => {
    {
      await using guest = await connectHalf();
      const refused = describeRing(guest, addresses).then(() => guest.frontEnd.setEnable(0, true));
      await expect(refused).rejects.toMatchObject({ code: 'ERR_REFUSED' });
      await expectSoundRing(guest);
      // The same connection starts it where it can be served.
      await guest.frontEnd.startQueue(0);
      expect(await guest.stillWorks()).toBe(true);
    }
    await daemon.expectUnharmed(disk);
  });

  test('the largest there is can be', async () => {
    const size = MAX_QUEUE_SIZE;
    const options = { memoryBytes: 4 << 20, queueSize: size, depth: 1, dataBytes: 512 };
    const frontEnd = await VhostUserFrontEnd.connect(disk.socket, options);
    expect(await frontEnd.queues[0]!.read(2, 512)).toEqual(onDisk(1024, 512));
    await frontEnd.close();
    await daemon.expectUnharmed(disk);
  });
});

describe('a ring is served when it was started, and no sooner', () => {
  /** A read that nobody serves yet. */
  function offerRead(guest: DaemonGuest): void {
    guest.writeHeader(VIRTIO_BLK_T_IN);
    guest.writeChain([headerOf(guest), dataOf(guest, WRITE | NEXT), statusOf(guest)]);
    guest.lie([0]);
    for (let i = 0; i < 100; i++) guest.frontEnd.queues[0]!.kick();
  }

  async function expectNotServed(guest: DaemonGuest): Promise<void> {
    // Whoever would serve it is busy with others meanwhile.
    await daemon.expectNeighbourServed();
    await expectSoundRing(guest);
    expect(guest.usedIdx).toBe(0);
    expect(guest.strayWrites()).toEqual([]);
  }

  async function expectServed(guest: DaemonGuest): Promise<void> {
    await until('the read', () => guest.usedIdx === 1);
    expect(guest.statusByte).toBe(VIRTIO_BLK_S_OK);
    expect(guest.copyOf(guest.data, 512)).toEqual(onDisk(0, 512));
    expect(guest.strayWrites([guest.status, 1], [guest.data, 512])).toEqual([]);
    expect(await guest.stop()).toBe(1);
  }

  test('never enabled: kicks consume nothing', async () => {
    {
      await using guest = await connectHalf();
      await describeRing(guest, guest.addresses);
      offerRead(guest);
      await expectNotServed(guest);
      await guest.frontEnd.setEnable(0, true);
      await expectServed(guest);
    }
    await daemon.expectUnharmed(disk);
  });

  test('disabled: kicks consume nothing', async () => {
    {
      await using guest = await DaemonGuest.connect(disk, {}, { numQueues: 2 });
      await guest.frontEnd.setEnable(0, false);
      offerRead(guest);
      await expectNotServed(guest);
      await guest.frontEnd.setEnable(0, true);
      await expectServed(guest);
    }
    await daemon.expectUnharmed(disk);
  });

  test('stopped, and not kicked off again: enabling consumes nothing', async () => {
    {
      await using guest = await DaemonGuest.connect(disk, {}, { numQueues: 2 });
      expect(await guest.stop()).toBe(0);
      offerRead(guest);
      await guest.frontEnd.setEnable(0, false);
      await guest.frontEnd.setEnable(0, true);
      await expectNotServed(guest);
      await guest.frontEnd.startQueue(0);
      await expectServed(guest);
    }
    await daemon.expectUnharmed(disk);
  });

  test('thousands of kicks with nothing available', async () => {
    {
      await using guest = await DaemonGuest.connect(disk, {}, { numQueues: 2 });
      guest.lie([]);
      for (let i = 0; i < 5000; i++) guest.frontEnd.queues[0]!.kick();
      await expectNotServed(guest);
      expect(await guest.stillWorks()).toBe(true);
    }
    await daemon.expectUnharmed(disk);
  });

  test('without a call eventfd: its driver polls', async () => {
    {
      await using guest = await DaemonGuest.connect(disk, {}, { call: false });
      offerRead(guest);
      await expectServed(guest);
    }
    await daemon.expectUnharmed(disk);
  });

  test('without a kick eventfd: it is looked at now and then', async () => {
    {
      await using guest = await DaemonGuest.connect(disk);
      await guest.frontEnd.requests.tell(Request.SET_VRING_KICK, encodeVringFd({ index: 0, hasFd: false }));
      offerRead(guest);
      await expectServed(guest);
    }
    await daemon.expectUnharmed(disk);
  });
});

describe('features while rings run (there is no status over vhost-user whose bits could be cleared)', () => {
  test('that were not offered are refused, and the ring goes on', async () => {
    {
      await using guest = await DaemonGuest.connect(disk, {}, { numQueues: 2 });
      const { requests, features } = guest.frontEnd;
      const more = requests.tell(Request.SET_FEATURES, encodeU64(features | (1n << 34n)));
      await expect(more).rejects.toMatchObject({ code: 'ERR_REFUSED' });
      expect(await guest.stillWorks()).toBe(true);
      await expectSoundRing(guest);
    }
    await daemon.expectUnharmed(disk);
  });

  test('no modern driver any more: refused, no ring is served, and both go on when they are back', async () => {
    {
      await using guest = await DaemonGuest.connect(disk, {}, { numQueues: 2 });
      const { requests, features } = guest.frontEnd;
      const legacy = features & ~featureSet(VIRTIO_F_VERSION_1);
      await expect(requests.tell(Request.SET_FEATURES, encodeU64(legacy))).rejects.toMatchObject({
        code: 'ERR_REFUSED',
      });
      await requests.tell(Request.SET_FEATURES, encodeU64(features));
      expect(await guest.stillWorks()).toBe(true);
      await expectSoundRing(guest);
    }
    await daemon.expectUnharmed(disk);
  });
});
