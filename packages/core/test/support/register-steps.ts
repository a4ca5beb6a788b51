import {
  VIRTIO_STATUS_ACKNOWLEDGE,
  VIRTIO_STATUS_DRIVER,
  VIRTIO_STATUS_DRIVER_OK,
  VIRTIO_STATUS_FEATURES_OK,
} from '@iothreads/core';
import { expect } from 'vitest';
import type { Machine } from './register-machines.js';
import { StartedDevice } from './started-device.js';

export const ACKNOWLEDGED = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER;
export const NEGOTIATED = ACKNOWLEDGED | VIRTIO_STATUS_FEATURES_OK;
export const RUNNING = NEGOTIATED | VIRTIO_STATUS_DRIVER_OK;

/** A device whose driver has just settled its features. */
export function negotiate({ driver }: Machine): void {
  driver.status = VIRTIO_STATUS_ACKNOWLEDGE;
  driver.status = ACKNOWLEDGED;
  driver.writeFeatures(driver.offeredFeatures);
  driver.status = NEGOTIATED;
}

/** Everything that a device is for, on all its queues. */
export function expectUsable(machine: Machine): void {
  const { rig, driver } = machine;
  const started = new StartedDevice(rig, driver);
  expect(driver.status).toBe(RUNNING);
  for (const [index] of started.queues.entries()) {
    started.roundTrip(index, 3 * index, () => {
      machine.hear(index);
    });
  }
}
