import type { VirtioBlkDevice } from '../virtio-blk/virtio-blk-device.js';

/** Which interrupt: a queue's, by its index, or this one for a change of the configuration or of the status. */
export const CONFIG_INTERRUPT = -1;

/** A device that a machine's registers stand in front of, on the machine's thread. */
export interface RegisteredDevice {
  /** Features, status, queues' addresses and configuration space. */
  readonly virtio: VirtioBlkDevice;
  /** The driver's doorbell for queue `index`; of a queue that is not there it does nothing. */
  kick(index: number): void;
  /**
   * Calls `listener` on this thread after interrupts, with a queue's index or `CONFIG_INTERRUPT`; several interrupts of one source
   * may come as one call. Never from within a call of `kick`.
   * @returns a function that ends it
   */
  onInterrupt(listener: (source: number) => void): () => void;
}
