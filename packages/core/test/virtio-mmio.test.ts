import {
  MMIO_BYTES,
  MMIO_CONFIG,
  MMIO_DEVICE_FEATURES,
  MMIO_DEVICE_FEATURES_SEL,
  MMIO_DRIVER_FEATURES,
  MMIO_DRIVER_FEATURES_SEL,
  MMIO_INTERRUPT_ACK,
  MMIO_INTERRUPT_STATUS,
  MMIO_MAGIC_VALUE,
  MMIO_QUEUE_DESC_LOW,
  MMIO_QUEUE_NOTIFY,
  MMIO_QUEUE_READY,
  MMIO_QUEUE_RESET,
  MMIO_QUEUE_SEL,
  MMIO_SHM_BASE_LOW,
  MMIO_SHM_LEN_LOW,
  MMIO_SHM_SEL,
  MMIO_STATUS,
  MMIO_VERSION,
  VIRTIO_BLK_T_OUT,
  VIRTIO_STATUS_ACKNOWLEDGE,
} from '@iothreads/core';
import { MmioDriver, splitIntoBytes } from '@iothreads/core/testing';
import { describe, expect, test } from 'vitest';
import { mmioMachine } from './support/register-machines.js';
import { RegisterRig } from './support/register-rig.js';
import { StartedDevice } from './support/started-device.js';

describe.each([
  ['whole', (bus: ReturnType<typeof mmioMachine>['transport']) => bus],
  ['split into bytes', splitIntoBytes],
])('with accesses that are %s', (_, wrap) => {
  test('a queue is stopped and started again elsewhere, while another goes on', () => {
    const rig = new RegisterRig(2);
    const { transport: mmio, line } = mmioMachine(rig);
    const driver = new MmioDriver(wrap(mmio));
    const started = new StartedDevice(rig, driver);
    rig.holdStop = true;
    driver.stopQueue(1);
    // It is ready until nothing of it is in flight, and can't be started before.
    expect(driver.isQueueEnabled(1)).toBe(true);
    const elsewhere = rig.allocator.allocateQueue(8);
    driver.setUpQueue(1, elsewhere);
    rig.finishStops();
    expect(driver.isQueueEnabled(1)).toBe(false);
    started.submit(1, VIRTIO_BLK_T_OUT, 0);
    expect(started.hasUsed(1)).toBe(false);
    started.roundTrip(0, 9, () => {
      expect(line.level).toBe(true);
      driver.acknowledgeInterrupt();
    });
    driver.setUpQueue(1, elsewhere);
    expect(driver.isQueueEnabled(1)).toBe(true);
    expect(mmio.saveState().queues[7]).toBe(8);
    driver.stopQueue(0);
    driver.setUpQueue(0, started.queues[0]!);
    rig.finishStops();
    expect(driver.isQueueEnabled(0)).toBe(false);
  });

  test('a queue is taken back before the device runs', () => {
    const { transport: mmio, rig } = mmioMachine();
    const driver = new MmioDriver(wrap(mmio));
    driver.status = 3;
    driver.writeFeatures(driver.offeredFeatures);
    driver.status = 11;
    driver.setUpQueue(0, rig.allocator.allocateQueue(8));
    driver.stopQueue(0);
    expect(driver.isQueueEnabled(0)).toBe(false);
  });
});

describe('single registers', () => {
  test('magic, version and who we are, at every width', () => {
    const { transport: mmio } = mmioMachine();
    expect(mmio.read(MMIO_MAGIC_VALUE, 4)).toBe(0x7472_6976);
    expect([0, 1, 2, 3].map((i) => String.fromCharCode(mmio.read(i, 1))).join('')).toBe('virt');
    expect(mmio.read(2, 2)).toBe(0x7472);
    // From the middle of one register into the next.
    expect(mmio.read(2, 4)).toBe(0x0002_7472);
    expect(mmio.read(3, 2)).toBe(0x0274);
    expect(mmio.read64(MMIO_VERSION)).toBe(0x2_0000_0002n);
  });

  test('features beyond 63 read as 0 and can not be wanted', () => {
    const { transport: mmio, rig } = mmioMachine();
    mmio.write(MMIO_STATUS, 4, 3);
    for (const select of [2, 3, 0x8000_0000, 0xffff_ffff]) {
      mmio.write(MMIO_DEVICE_FEATURES_SEL, 4, select);
      mmio.write(MMIO_DRIVER_FEATURES_SEL, 4, select);
      expect(mmio.read(MMIO_DEVICE_FEATURES, 4)).toBe(0);
      mmio.write(MMIO_DRIVER_FEATURES, 4, 0xffff_ffff);
      expect(rig.virtio.driverFeatures).toBe(0n);
    }
    // A selector that is written in part keeps the rest.
    mmio.write(MMIO_DEVICE_FEATURES_SEL + 1, 1, 0);
    mmio.write(MMIO_DEVICE_FEATURES_SEL + 2, 2, 0);
    mmio.write(MMIO_DEVICE_FEATURES_SEL, 1, 1);
    expect(mmio.read(MMIO_DEVICE_FEATURES, 4)).toBe(1);
  });

  test('there is no shared memory, and no queue is reset on its own', () => {
    const { transport: mmio } = mmioMachine();
    mmio.write(MMIO_SHM_SEL, 4, 1);
    expect(mmio.read64(MMIO_SHM_LEN_LOW)).toBe(0xffff_ffff_ffff_ffffn);
    expect(mmio.read64(MMIO_SHM_BASE_LOW)).toBe(0xffff_ffff_ffff_ffffn);
    mmio.write(MMIO_QUEUE_RESET, 4, 1);
    expect(mmio.read(MMIO_QUEUE_RESET, 4)).toBe(0);
  });

  test('the doorbell rings once for a write that covers its lowest byte', () => {
    const { transport: mmio, rig } = mmioMachine(new RegisterRig(300));
    mmio.write(MMIO_QUEUE_NOTIFY, 4, 299);
    mmio.write(MMIO_QUEUE_NOTIFY, 2, 298);
    mmio.write(MMIO_QUEUE_NOTIFY, 1, 7);
    for (const at of [1, 2, 3]) mmio.write(MMIO_QUEUE_NOTIFY + at, 1, 7);
    mmio.write(MMIO_QUEUE_NOTIFY + 2, 2, 7);
    mmio.write64(MMIO_QUEUE_NOTIFY, 5n);
    // Across its beginning: what comes before it is another register's.
    mmio.write(MMIO_QUEUE_NOTIFY - 1, 2, 0x0900);
    for (const value of [300, 0xffff_ffff, -1, 0x8000_0000]) mmio.write(MMIO_QUEUE_NOTIFY, 4, value);
    expect(rig.kicks).toEqual([299, 298, 7, 5, 9]);
  });

  test('only what was acknowledged is, and the line is low when all of it is', () => {
    const { transport: mmio, rig, driver, line } = mmioMachine();
    void new StartedDevice(rig, driver);
    rig.interrupt(0);
    rig.resize(3);
    rig.deliver();
    expect(mmio.read(MMIO_INTERRUPT_STATUS, 4)).toBe(3);
    mmio.write(MMIO_INTERRUPT_ACK, 4, 0xffff_fffc);
    mmio.write(MMIO_INTERRUPT_ACK + 1, 1, 3);
    mmio.write(MMIO_INTERRUPT_ACK, 4, 1);
    expect(mmio.read(MMIO_INTERRUPT_STATUS, 4)).toBe(2);
    expect(line.level).toBe(true);
    // Reading it changes nothing.
    mmio.write(MMIO_INTERRUPT_STATUS, 4, 0);
    expect(mmio.read(MMIO_INTERRUPT_STATUS, 1)).toBe(2);
    mmio.write(MMIO_INTERRUPT_ACK, 1, 2);
    expect(line).toMatchObject({ level: false, raised: 1 });
  });

  test('the status counts by its lowest byte', () => {
    const { transport: mmio } = mmioMachine();
    mmio.write(MMIO_STATUS, 4, 0xffff_ff00 | VIRTIO_STATUS_ACKNOWLEDGE);
    expect(mmio.read(MMIO_STATUS, 4)).toBe(VIRTIO_STATUS_ACKNOWLEDGE);
    mmio.write(MMIO_STATUS + 1, 1, 0);
    expect(mmio.read(MMIO_STATUS, 4)).toBe(VIRTIO_STATUS_ACKNOWLEDGE);
    mmio.write(MMIO_STATUS, 4, 0x100);
    expect(mmio.read(MMIO_STATUS, 4)).toBe(0);
  });

  test('64-bit writes go to both halves', () => {
    const { transport: mmio } = mmioMachine();
    mmio.write64(MMIO_QUEUE_DESC_LOW, 0x8765_4321_fedc_ba98n);
    expect(mmio.saveState().queues.slice(1, 3)).toEqual([0xfedc_ba98, 0x8765_4321]);
  });

  test('a queue beyond all of them is never ready', () => {
    const { transport: mmio } = mmioMachine();
    for (const index of [1, 0x1_0000, 0xffff_ffff]) {
      mmio.write(MMIO_QUEUE_SEL, 4, index);
      for (const value of [1, 0]) mmio.write(MMIO_QUEUE_READY, 4, value);
      expect(mmio.read(MMIO_QUEUE_READY, 4)).toBe(0);
    }
  });

  test.each([-4, MMIO_BYTES, 2 ** 32, 2 ** 53, NaN, Infinity])(
    'what lies beyond them reads as 0 and takes no writes: %d',
    (offset) => {
      const { transport: mmio } = mmioMachine();
      const before = mmio.saveState();
      expect(mmio.read(offset, 4)).toBe(0);
      mmio.write(offset, 4, 0xffff_ffff);
      expect(mmio.saveState()).toEqual(before);
    },
  );

  test('of an access across their ends, what lies inside counts', () => {
    const { transport: mmio } = mmioMachine();
    expect(mmio.read(-1, 2)).toBe(0x7600);
    expect(mmio.read64(-4)).toBe(0x7472_6976_0000_0000n);
    expect(mmio.read(MMIO_CONFIG - 1, 2)).toBe(0x4000);
    expect(mmio.read(MMIO_BYTES - 1, 4)).toBe(0);
  });
});
