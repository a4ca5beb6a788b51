import { BlockOperation, VIRTIO_BLK_S_OK, type BlockRequest, type BlockStatus } from '@iothreads/core';
import { readAt, writeAt } from '@iothreads/linux';
import type { PreparedDrive } from '../../block-driver-type.js';
import { FileDriver } from '../file-driver.js';
import { ImageFile, type FileDriverState } from '../image-file.js';
import { alignedZeroes } from './aligned-memory.js';
import { BouncePool } from './bounce-pool.js';
import { DirectMemory } from './direct-memory.js';
import { hostAddress } from './host-address.js';
import { callLinux } from './linux-calls.js';

/** Of all requests that go through this thread's part of the thread pool. */
const poolBounces = new BouncePool();

/**
 * A raw image by system calls: what is waited for is done by them directly. What is not goes through libuv's thread pool,
 * but for fallocate(2), which is short.
 */
export class LinuxFileDriver extends FileDriver {
  readonly #fd: number;
  readonly #offset: number;
  readonly #direct: boolean;
  readonly #writable: boolean;

  constructor(prepared: PreparedDrive<FileDriverState>) {
    const { direct } = prepared.state;
    const memory = direct === undefined ? undefined : new DirectMemory(direct, poolBounces);
    super(prepared, new ImageFile(prepared, true, alignedZeroes, memory), callLinux);
    this.#fd = this.image.fd;
    this.#offset = this.image.offset;
    this.#direct = direct !== undefined;
    this.#writable = !prepared.geometry.readOnly;
  }

  override executeSync(request: BlockRequest): BlockStatus {
    const { operation, data } = request;
    // By far the most of them: one run of memory, one call.
    if (operation <= BlockOperation.WRITE && data.length === 1 && !this.#direct) {
      const address = hostAddress(data.regions[0]!) + data.offsets[0]!;
      const { byteLength } = data;
      const position = request.position + this.#offset;
      try {
        if (operation === BlockOperation.READ) {
          if (readAt(this.#fd, address, byteLength, position) === byteLength) return VIRTIO_BLK_S_OK;
        } else if (this.#writable) {
          if (writeAt(this.#fd, address, byteLength, position) === byteLength) return VIRTIO_BLK_S_OK;
        }
      } catch {
        // Below it is done once more, from the beginning, and what fails again is reported.
      }
    }
    return super.executeSync(request);
  }
}
