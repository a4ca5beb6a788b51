import { hasFeature, VIRTIO_BLK_F_FLUSH } from '@iothreads/core';
import type { ExportedDevice } from '@iothreads/iothread';

/**
 * Whether the disk's write cache is on. What a guest has chosen outlives its connection: the same guest may come back, and relies
 * on what it read before.
 */
export class WriteCache {
  readonly #device: ExportedDevice;
  #chosen: boolean;
  #driverFlushes = true;

  constructor(device: ExportedDevice, on: boolean) {
    this.#device = device;
    this.#chosen = on;
  }

  choose(on: boolean): void {
    this.#chosen = on;
    this.#apply();
  }

  /** A driver that never flushes relies on every write being durable (virtio 1.3 section 5.2.5.1). */
  negotiated(features: bigint): void {
    this.#driverFlushes = hasFeature(features, VIRTIO_BLK_F_FLUSH);
    this.#apply();
  }

  /** Nobody is connected: the next front end learns what was chosen. */
  disconnected(): void {
    this.#driverFlushes = true;
    this.#apply();
  }

  #apply(): void {
    this.#device.setWriteback(this.#chosen && this.#driverFlushes);
  }
}
