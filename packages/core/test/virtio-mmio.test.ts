import * as core from '@iothreads/core';
import {
  CONFIG_INTERRUPT,
  featureSet,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_F_VERSION_1,
  VIRTIO_STATUS_ACKNOWLEDGE,
  VIRTIO_STATUS_DRIVER,
  VIRTIO_STATUS_DRIVER_OK,
  VIRTIO_STATUS_FEATURES_OK,
  VIRTIO_STATUS_NEEDS_RESET,
  VirtioError,
  VirtioMmio,
} from '@iothreads/core';
import { MmioDriver, type RegisterBus, splitIntoBytes } from '@iothreads/core/testing';
import { describe, expect, test } from 'vitest';
import { CAPACITY_SECTORS, Line, QUEUE_SIZE, RegisterRig, StartedDevice } from './support/register-rig.js';

const RUNNING =
  VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER | VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK;

function setUp(numQueues = 1, wrap: (bus: RegisterBus) => RegisterBus = (bus) => bus) {
  const rig = new RegisterRig(numQueues);
  const line = new Line();
  const mmio = new VirtioMmio(rig, {
    setInterrupt: (level) => {
      line.set(level);
    },
  });
  const bus = wrap(mmio);
  return { rig, line, mmio, bus, driver: new MmioDriver(bus) };
}

describe.each([
  ['whole', (bus: RegisterBus) => bus],
  ['split into bytes', splitIntoBytes],
])('accesses that are %s', (_, wrap) => {
  test('start a device of many queues, and every queue serves requests with an interrupt each', () => {
    const { rig, line, driver } = setUp(5, wrap);
    const started = new StartedDevice(rig, driver);
    expect(driver.status).toBe(RUNNING);
    expect(rig.virtio.driverFeatures).toBe(rig.virtio.offeredFeatures);
    for (let index = 0; index < 5; index++) {
      started.roundTrip(index, index * 3, () => {
        expect(line.level).toBe(true);
        expect(driver.acknowledgeInterrupt()).toEqual({ queue: true, config: false });
        expect(line.level).toBe(false);
      });
    }
    expect(rig.kicks).toEqual([0, 0, 1, 1, 2, 2, 3, 3, 4, 4]);
    expect(line.raised).toBe(10);
  });

  test('show a change of the configuration', () => {
    const { rig, line, driver } = setUp(1, wrap);
    void new StartedDevice(rig, driver);
    expect(driver.capacitySectors).toBe(CAPACITY_SECTORS);
    const before = driver.configGeneration;
    rig.resize(2 ** 40 + 3);
    rig.deliver();
    expect(line.level).toBe(true);
    expect(driver.acknowledgeInterrupt()).toEqual({ queue: false, config: true });
    expect(line.level).toBe(false);
    expect(driver.configGeneration).not.toBe(before);
    expect(driver.capacitySectors).toBe(2 ** 40 + 3);
  });

  test('stop a queue and start it again elsewhere, while another goes on', () => {
    const { rig, driver, line } = setUp(2, wrap);
    const started = new StartedDevice(rig, driver);
    const hear = () => {
      if (line.level) driver.acknowledgeInterrupt();
    };
    rig.holdStop = true;
    driver.stopQueue(1);
    expect(driver.isQueueEnabled(1)).toBe(true);
    rig.finishStop(1);
    expect(driver.isQueueEnabled(1)).toBe(false);
    started.submit(1, VIRTIO_BLK_T_OUT, 0);
    expect(started.hasUsed(1)).toBe(false);
    started.roundTrip(0, 9, hear);
    const elsewhere = rig.allocator.allocateQueue(8);
    driver.setUpQueue(1, elsewhere);
    expect(driver.isQueueEnabled(1)).toBe(true);
    expect(driver.status).toBe(RUNNING);
  });

  test('do without the features of which no part was wanted', () => {
    const { rig, driver, line } = setUp(1, wrap);
    const started = new StartedDevice(rig, driver, featureSet(VIRTIO_F_VERSION_1));
    expect(rig.virtio.driverFeatures).toBe(featureSet(VIRTIO_F_VERSION_1));
    started.roundTrip(0, 5, () => {
      expect(line.level).toBe(true);
      driver.acknowledgeInterrupt();
    });
  });
});
