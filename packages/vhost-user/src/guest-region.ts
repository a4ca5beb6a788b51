import type { MappedRegion } from '@iothreads/iothread';
import { closeFd } from '@iothreads/linux';
import { hex, type RegionDescription } from './protocol/memory-payloads.js';
import type { ReceivedFds } from './received-fds.js';
import { SharedMapping } from './shared-mapping.js';
import { protocolError } from './vhost-user-error.js';

/** Rings are read through typed arrays, which need natural alignment. */
const WORD_BYTES = 8;

/** A region of guest memory that the front end shares, mapped into this process. */
export class GuestRegion implements MappedRegion {
  readonly guestAddress: number;
  readonly userAddress: number;
  readonly size: number;
  readonly #mapping: SharedMapping;

  private constructor(description: RegionDescription, mapping: SharedMapping) {
    this.guestAddress = description.guestAddress;
    this.userAddress = description.userAddress;
    this.size = description.size;
    this.#mapping = mapping;
  }

  get hostAddress(): number {
    return this.#mapping.address;
  }

  /**
   * Maps a region of the next file among `fds`, which there must be.
   * @throws VhostUserError `ERR_PROTOCOL` when the region reaches beyond its file, or can't be mapped
   */
  static map(description: RegionDescription, fds: ReceivedFds): GuestRegion {
    const { guestAddress, size, mmapOffset } = description;
    const name = `region of ${size} bytes at ${hex(guestAddress)}`;
    const fd = fds.take();
    try {
      if (guestAddress % WORD_BYTES !== 0)
        throw protocolError(`${name}: its address must be a multiple of ${WORD_BYTES}`);
      return new GuestRegion(description, new SharedMapping(fd, mmapOffset, size, name));
    } finally {
      // The mapping keeps the file.
      closeFd(fd);
    }
  }

  /** Nobody may work in it any more. */
  unmap(): void {
    this.#mapping.unmap();
  }
}
