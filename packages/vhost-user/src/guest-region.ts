import type { MappedRegion } from '@iothreads/iothread';
import { closeFd, LinuxError, MemoryMap } from '@iothreads/linux';
import { fstatSync } from 'node:fs';
import { hex, type RegionDescription } from './protocol/memory-payloads.js';
import type { ReceivedFds } from './received-fds.js';
import { protocolError } from './vhost-user-error.js';

/** Smallest page there is. */
const PAGE_BYTES = 4096;
/** Rings are read through typed arrays, which need natural alignment. */
const WORD_BYTES = 8;

/** A region of guest memory that the front end shares, mapped into this process. */
export class GuestRegion implements MappedRegion {
  readonly guestAddress: number;
  readonly userAddress: number;
  readonly size: number;
  readonly hostAddress: number;
  readonly #mapping: MemoryMap;

  private constructor(description: RegionDescription, map: MemoryMap, hostAddress: number) {
    this.guestAddress = description.guestAddress;
    this.userAddress = description.userAddress;
    this.size = description.size;
    this.hostAddress = hostAddress;
    this.#mapping = map;
  }

  /**
   * Maps a region of the next file among `fds`, which there must be.
   * @throws VhostUserError `ERR_PROTOCOL` when the region reaches beyond its file, or can't be mapped
   */
  static map(description: RegionDescription, fds: ReceivedFds): GuestRegion {
    const fd = fds.take();
    try {
      return GuestRegion.#map(description, fd);
    } finally {
      // The mapping keeps the file.
      closeFd(fd);
    }
  }

  static #map(description: RegionDescription, fd: number): GuestRegion {
    const { guestAddress, size, mmapOffset } = description;
    const name = `region of ${size} bytes at ${hex(guestAddress)}`;
    if (guestAddress % WORD_BYTES !== 0 || mmapOffset % WORD_BYTES !== 0) {
      throw protocolError(`${name}: its address and its file offset must be multiples of ${WORD_BYTES}`);
    }
    // As bigints: what a front end sends may be a socket, and see `AS_BIGINT` beside the listening socket for what that does.
    const file = fstatSync(fd, { bigint: true });
    const fileBytes = Number(file.size);
    if (!file.isFile()) throw protocolError(`${name}: its descriptor is no file`);
    // Beyond its end the mapping exists, and the first access ends the process.
    if (mmapOffset > fileBytes || size > fileBytes - mmapOffset) {
      throw protocolError(
        `${name}, ${mmapOffset} bytes into its file, reaches beyond the file's ${fileBytes}`,
      );
    }
    // Huge pages are mapped and unmapped whole: their file systems tell their size here.
    const blockBytes = Number(file.blksize);
    const unit = blockBytes % PAGE_BYTES === 0 ? Math.max(PAGE_BYTES, blockBytes) : PAGE_BYTES;
    const inUnit = mmapOffset % unit;
    const byteLength = Math.ceil((inUnit + size) / unit) * unit;
    try {
      const map = new MemoryMap(fd, byteLength, mmapOffset - inUnit);
      // Nobody who looks into a crash of ours needs the guest's secrets.
      map.leaveOutOfDumps();
      return new GuestRegion(description, map, map.address + inUnit);
    } catch (error) {
      if (!(error instanceof LinuxError)) throw error;
      throw protocolError(`${name} can't be mapped: ${error.message}`);
    }
  }

  /** Nobody may work in it any more. */
  unmap(): void {
    this.#mapping.unmap();
  }
}
