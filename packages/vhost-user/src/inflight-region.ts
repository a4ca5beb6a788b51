import { InflightTable } from '@iothreads/core';
import { closeFd, createMemfd, viewOf } from '@iothreads/linux';
import type { InflightDescription } from './protocol/inflight-payload.js';
import type { ReceivedFds } from './received-fds.js';
import { SharedMapping } from './shared-mapping.js';
import { protocolError } from './vhost-user-error.js';

/**
 * Memory that the front end keeps while back ends come and go: which requests of each queue are in flight ("Inflight I/O tracking").
 */
export class InflightRegion {
  readonly #mapping: SharedMapping;
  readonly #numQueues: number;
  readonly #queueSize: number;

  private constructor(mapping: SharedMapping, { numQueues, queueSize }: InflightDescription) {
    this.#mapping = mapping;
    this.#numQueues = numQueues;
    this.#queueSize = queueSize;
  }

  /** A new one: a file to hand over, of a size that nobody changes any more. @returns its descriptor, the caller's to close */
  static create(numQueues: number, queueSize: number): InflightDescription & { readonly fd: number } {
    const mmapSize = numQueues * InflightTable.bytesFor(queueSize);
    const fd = createMemfd('vhost-user-inflight', mmapSize, { sealed: true });
    return { fd, mmapSize, mmapOffset: 0, numQueues, queueSize };
  }

  /**
   * Maps the next file among `fds`, which there must be.
   * @throws VhostUserError `ERR_PROTOCOL` when it is too small for its queues, or can't be mapped
   */
  static map(description: InflightDescription, fds: ReceivedFds): InflightRegion {
    const { mmapSize, mmapOffset, numQueues, queueSize } = description;
    const byteLength = numQueues * InflightTable.bytesFor(queueSize);
    const name = `region for requests in flight of ${numQueues} queues of size ${queueSize}`;
    const fd = fds.take();
    try {
      if (mmapSize < byteLength)
        throw protocolError(`${name} has ${mmapSize} bytes instead of ${byteLength}`);
      return new InflightRegion(new SharedMapping(fd, mmapOffset, byteLength, name), description);
    } finally {
      // The mapping keeps the file.
      closeFd(fd);
    }
  }

  /** Where a queue's table is mapped. @throws VhostUserError `ERR_PROTOCOL` when there is no room for it */
  addressOf(index: number, size: number): number {
    if (index >= this.#numQueues || size > this.#queueSize) {
      throw protocolError(
        `requests in flight of ring ${index} of size ${size} can't be tracked: ` +
          `there is room for ${this.#numQueues} of size ${this.#queueSize}`,
      );
    }
    return this.#mapping.address + index * InflightTable.bytesFor(this.#queueSize);
  }

  /** Whether a back end has served a queue of that index with it. */
  wasUsed(index: number): boolean {
    const byteLength = InflightTable.bytesFor(1);
    // The region stays mapped meanwhile, and this view is gone at once.
    return new InflightTable(viewOf(this.addressOf(index, 1), byteLength), 0, 1).used;
  }

  /** Nobody may work in it any more. */
  unmap(): void {
    this.#mapping.unmap();
  }
}
