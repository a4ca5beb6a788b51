// What a driver can do wrong with a ring. The tables are in `robustness`: test/hostile has a real daemon serve them as well.
import {
  BlockRequest,
  GuestMemory,
  MAX_QUEUE_SIZE,
  Popped,
  VIRTIO_BLK_T_IN,
  VIRTIO_STATUS_ACKNOWLEDGE,
  VIRTIO_STATUS_DRIVER,
  VIRTIO_STATUS_DRIVER_OK,
  VIRTIO_STATUS_FEATURES_OK,
  VIRTIO_STATUS_NEEDS_RESET,
  VirtioBlkDevice,
  VirtioError,
  Virtqueue,
  type VirtqueueAddresses,
} from '@iothreads/core';
import { startDevice } from '@iothreads/core/testing';
import { describe, expect, test } from 'vitest';
import { type BrokenRing, brokenRings, heldHead } from './robustness/broken-rings.js';
import { FIRST_REGION, HOLE, NEXT, REGION_BYTES, SECOND_REGION, WRITE } from './robustness/hostile-guest.js';
import { misplacedRings, wellPlaced } from './robustness/misplaced-rings.js';
import { dataOf, headerOf, statusOf } from './robustness/row.js';
import { CHAINS } from './robustness/tables.js';
import { BlockRig, BouncedRig, RIGS } from './support/block-rig.js';
import { expectRowInProcess } from './support/expect-row-in-process.js';

describe('a ring that can not be trusted breaks the queue', () => {
  function check(rig: BlockRig, { heads, availIdx, taken }: BrokenRing): void {
    for (const head of heads(rig)) rig.driver.makeAvailable(head);
    rig.driver.publish();
    if (availIdx !== undefined) rig.availIdx = availIdx;
    const avail = rig.driver.ring.avail.slice();
    rig.run();
    expect(rig.broken).toBe(true);
    expect(rig.usedIdx).toBe(taken);
    // The avail ring is the driver's own.
    expect(rig.driver.ring.avail.slice()).toEqual(avail);
    // Nothing is consumed any more, whatever the driver does to put it right.
    rig.availIdx = taken + 1;
    rig.run();
    expect(rig.usedIdx).toBe(taken);
    expect(rig.inFlight).toBe(0);
    // ... until it is made anew.
    rig.availIdx = taken;
    const again = new Virtqueue(rig.allocator.memory, rig.addresses, {
      indirect: true,
      eventIdx: false,
      state: { lastAvail: taken, usedIdx: taken },
    });
    expect(again.pop(new BlockRequest())).toBe(Popped.NONE);
    expect(again.broken).toBe(false);
  }

  describe.each(RIGS)('%s', (_way, Rig) => {
    test.each(brokenRings)('$what', (row) => {
      check(new Rig(), row);
    });
  });

  test(`bounced memory: ${heldHead.what}`, () => {
    check(new BouncedRig(), heldHead);
  });

  test('a broken queue has nothing available, and asks for no kicks', () => {
    const rig = new BlockRig();
    rig.availIdx = 9;
    expect(rig.queue.pop(new BlockRequest())).toBe(Popped.BROKEN);
    rig.availIdx = 1;
    expect(rig.queue.available()).toBe(0);
    expect(rig.queue.pop(new BlockRequest())).toBe(Popped.BROKEN);
    expect(rig.queue.enableNotifications()).toBe(false);
  });

  test('avail.idx jumps while earlier chains are still to be popped', () => {
    const rig = new BlockRig();
    rig.availIdx = 2;
    rig.writeChain([headerOf(rig, 0)]);
    const chain = new BlockRequest();
    expect(rig.queue.pop(chain)).toBe(Popped.CHAIN);
    rig.queue.push(chain.head, 0);
    rig.availIdx = 200;
    expect(rig.queue.available()).toBe(199);
    expect(rig.queue.pop(chain)).toBe(Popped.BROKEN);
  });

  test('a head that is still in flight', () => {
    const rig = new BlockRig();
    rig.writeHeader(VIRTIO_BLK_T_IN);
    rig.writeChain([headerOf(rig), dataOf(rig, WRITE | NEXT), statusOf(rig)]);
    rig.driver.makeAvailable(0);
    rig.driver.makeAvailable(0);
    rig.driver.publish();
    const [first, second] = [new BlockRequest(), new BlockRequest()];
    expect(rig.queue.pop(first)).toBe(Popped.CHAIN);
    expect(rig.queue.pop(second)).toBe(Popped.BROKEN);
    // What was in flight can still be given back.
    expect(rig.queue.inFlight).toBe(1);
    rig.queue.push(first.head, 1);
    rig.queue.publish();
    expect(rig.queue.inFlight).toBe(0);
    expect(rig.driver.takeUsed()).toBe(0);
    expect(rig.queue.pop(second)).toBe(Popped.BROKEN);
  });
});

describe.each(RIGS)('%s', (_way, Rig) => {
  describe.each(CHAINS)('%s', (_rule, rows) => {
    test.each(rows)('$what', (row) => expectRowInProcess(Rig, row));
  });

  test('spurious runs of the device, without anything available, interrupt nobody', () => {
    const rig = new Rig();
    expect([rig.serve(), rig.serve()]).toEqual([[], []]);
    expect(rig.device.interrupts).toBe(0);
  });
});

describe('rings are checked before they are served', () => {
  const memory = new GuestMemory([
    { guestAddress: FIRST_REGION, buffer: new ArrayBuffer(REGION_BYTES) },
    { guestAddress: SECOND_REGION, buffer: new ArrayBuffer(REGION_BYTES) },
  ]);
  const good = wellPlaced;
  const refusals: readonly (readonly [what: string, code: string, addresses: VirtqueueAddresses])[] = [
    ['size 0', 'ERR_QUEUE_SIZE', { ...good, size: 0 }],
    ['size 3', 'ERR_QUEUE_SIZE', { ...good, size: 3 }],
    ['a negative size', 'ERR_QUEUE_SIZE', { ...good, size: -8 }],
    ['half a descriptor', 'ERR_QUEUE_SIZE', { ...good, size: 0.5 }],
    ['size NaN', 'ERR_QUEUE_SIZE', { ...good, size: NaN }],
    ['a size above the maximum', 'ERR_QUEUE_SIZE', { ...good, size: 32 }],
    ['a size above what 16 bits allow', 'ERR_QUEUE_SIZE', { ...good, size: MAX_QUEUE_SIZE * 2 }],
    ...misplacedRings.map(([what, addresses]) => [what, 'ERR_QUEUE_ADDRESS', addresses] as const),
  ];

  test.each(refusals)('%s is refused at activation', (_, code, addresses) => {
    let activations = 0;
    let resets = 0;
    const device = new VirtioBlkDevice(
      {
        capacitySectors: 64,
        numQueues: 2,
        queueSize: 16,
        logicalBlockSize: 512,
        discard: false,
        writeZeroes: false,
        readOnly: false,
      },
      memory,
      {
        activate: () => activations++,
        reset: () => resets++,
        writebackChanged: () => {},
        startRefused: () => {},
      },
    );
    expect(() => startDevice(device, [good, addresses])).toThrow('queue 1');
    expect(device.status & VIRTIO_STATUS_NEEDS_RESET).not.toBe(0);
    expect(device.refusal).toMatch(/queue 1: /);
    expect(activations).toBe(0);
    expect(() => new Virtqueue(memory, addresses, { indirect: true, eventIdx: true, maxSize: 16 })).toThrow(
      expect.objectContaining({ code, constructor: VirtioError }),
    );
    // A reset puts it right: nobody was serving, so nobody is asked to stop.
    device.writeStatus(0);
    expect(device.status).toBe(0);
    expect(resets).toBe(0);
    startDevice(device, [good]);
    expect(activations).toBe(1);
  });

  test('rings that end exactly where the region ends are served', () => {
    for (const fitting of [
      { ...good, descriptorTable: HOLE - 8 * 16 },
      { ...good, availRing: HOLE - (6 + 2 * 8) },
      { ...good, usedRing: HOLE - (6 + 8 * 8) - 2 },
    ]) {
      expect(new Virtqueue(memory, fitting, { indirect: true, eventIdx: true }).size).toBe(8);
    }
  });

  test('status bits are cleared by a reset only, and features are frozen after FEATURES_OK', () => {
    const device = new VirtioBlkDevice(
      {
        capacitySectors: 64,
        numQueues: 1,
        queueSize: 16,
        logicalBlockSize: 512,
        discard: false,
        writeZeroes: false,
        readOnly: false,
      },
      memory,
      { activate: () => {}, reset: () => {}, writebackChanged: () => {}, startRefused: () => {} },
    );
    startDevice(device, [good]);
    const { status, driverFeatures } = device;
    for (const bit of [
      VIRTIO_STATUS_ACKNOWLEDGE,
      VIRTIO_STATUS_DRIVER,
      VIRTIO_STATUS_FEATURES_OK,
      VIRTIO_STATUS_DRIVER_OK,
    ]) {
      device.writeStatus(status & ~bit);
      expect(device.status).toBe(status);
      expect(device.refusal).toMatch(/cleared/);
    }
    device.writeDriverFeatures(0n);
    expect(device.driverFeatures).toBe(driverFeatures);
    expect(device.refusal).toMatch(/features/);
  });
});
