import type { VirtioBlkDevice } from '../virtio-blk/virtio-blk-device.js';
import {
  VIRTIO_STATUS_ACKNOWLEDGE,
  VIRTIO_STATUS_DRIVER,
  VIRTIO_STATUS_DRIVER_OK,
  VIRTIO_STATUS_FEATURES_OK,
  VIRTIO_STATUS_NEEDS_RESET,
} from '../virtio/device-status.js';
import type { VirtqueueAddresses } from '../virtqueue/split-ring.js';

/**
 * What a driver does to start a device, step by step (virtio 1.3 section 3.1.1).
 *
 * @param features those that the driver wants of the ones offered; all by default
 * @throws Error when the device refuses a step, with its reason
 */
export function startDevice(
  device: VirtioBlkDevice,
  queues: readonly VirtqueueAddresses[],
  features: bigint = device.offeredFeatures,
): void {
  device.writeStatus(VIRTIO_STATUS_ACKNOWLEDGE);
  device.writeStatus(device.status | VIRTIO_STATUS_DRIVER);
  device.writeDriverFeatures(features);
  device.writeStatus(device.status | VIRTIO_STATUS_FEATURES_OK);
  if ((device.status & VIRTIO_STATUS_FEATURES_OK) === 0) {
    throw new Error(`the device refused the features: ${device.refusal}`);
  }
  for (const [index, queue] of queues.entries()) device.setQueue(index, queue);
  device.writeStatus(device.status | VIRTIO_STATUS_DRIVER_OK);
  const started = VIRTIO_STATUS_DRIVER_OK | VIRTIO_STATUS_NEEDS_RESET;
  if ((device.status & started) !== VIRTIO_STATUS_DRIVER_OK) {
    throw new Error(`the device refused to start: ${device.refusal}`);
  }
}
