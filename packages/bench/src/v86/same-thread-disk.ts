import {
  BlockOperation,
  type BouncedMemory,
  BlockRequest,
  hasFeature,
  MovingMemory,
  Popped,
  RequestParser,
  SECTOR_SIZE,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_S_UNSUPP,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VirtioBlkDevice,
  Virtqueue,
  type VirtqueueAddresses,
  writeStatus,
} from '@iothreads/core';
import type { DiskDevice } from '@iothreads/v86';
import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

const QUEUE_SIZE = 256;
const NEVER_NOTIFIED = new Int32Array(new SharedArrayBuffer(4));

/**
 * A virtio-blk disk that the emulator's own thread serves, for comparison: it reads in the doorbell, into guest RAM, and the guest stands
 * still meanwhile.
 */
export class SameThreadDisk implements DiskDevice, Disposable {
  readonly virtio: VirtioBlkDevice;
  readonly #fd: number;
  readonly #latencyMs: number;
  readonly #memory: MovingMemory;
  readonly #markDirty: NonNullable<BouncedMemory['markDirty']>;
  readonly #parser: RequestParser;
  readonly #request = new BlockRequest();
  readonly #listeners = new Set<(source: number) => void>();
  #ring: { readonly queue: Virtqueue; readonly addresses: VirtqueueAddresses } | undefined;

  /** @param latencyMs how long each request takes besides */
  constructor(filename: string, memory: BouncedMemory, latencyMs = 0) {
    this.#fd = openSync(filename, 'r');
    this.#latencyMs = latencyMs;
    this.#memory = new MovingMemory(memory);
    this.#markDirty = memory.markDirty ?? (() => {});
    const capacitySectors = fstatSync(this.#fd).size / SECTOR_SIZE;
    const limits = { capacitySectors, readOnly: true, discard: false, writeZeroes: false };
    this.#parser = new RequestParser({ ...limits, serial: new Uint8Array() });
    this.virtio = new VirtioBlkDevice(
      { ...limits, numQueues: 1, queueSize: QUEUE_SIZE, logicalBlockSize: SECTOR_SIZE },
      this.#memory,
      {
        activate: ({ features, queues }) => {
          const addresses = queues[0]!;
          const queue = new Virtqueue(this.#memory, addresses, {
            indirect: hasFeature(features, VIRTIO_F_INDIRECT_DESC),
            eventIdx: hasFeature(features, VIRTIO_F_EVENT_IDX),
          });
          this.#ring = { queue, addresses };
        },
        reset: () => {
          this.#ring = undefined;
          this.virtio.resetDone();
        },
        writebackChanged: () => {},
        startRefused: () => {},
      },
    );
  }

  onInterrupt(listener: (source: number) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Interrupts at once, which is safe in a write to a port. */
  kick(): void {
    if (this.#ring === undefined) return;
    const { queue, addresses } = this.#ring;
    const { moves } = this.#memory;
    this.#memory.follow();
    if (moves !== this.#memory.moves) queue.relocate();
    const request = this.#request;
    do {
      queue.disableNotifications();
      for (let popped = queue.pop(request); popped !== Popped.NONE; popped = queue.pop(request)) {
        if (popped === Popped.BROKEN) return;
        this.#parser.parse(request, popped === Popped.CHAIN);
        const status = request.settled === -1 ? this.#execute(request) : request.settled;
        queue.push(request.head, writeStatus(request, status));
      }
    } while (queue.enableNotifications());
    const wanted = queue.publish();
    this.#markDirty(addresses.usedRing, 4 + 8 * addresses.size);
    if (wanted) for (const listener of this.#listeners) listener(0);
  }

  #execute(request: BlockRequest): number {
    if (request.operation !== BlockOperation.READ) return VIRTIO_BLK_S_UNSUPP;
    if (this.#latencyMs > 0) Atomics.wait(NEVER_NOTIFIED, 0, 0, this.#latencyMs);
    const { data } = request;
    let at = request.position;
    for (let i = 0; i < data.length; i++) {
      const region = data.regions[i]!;
      const byteLength = data.lengths[i]!;
      if (readSync(this.#fd, region.bytes, data.offsets[i]!, byteLength, at) !== byteLength)
        return VIRTIO_BLK_S_IOERR;
      this.#markDirty(region.guestAddress + data.offsets[i]!, byteLength);
      at += byteLength;
    }
    return VIRTIO_BLK_S_OK;
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}
