import { LinuxError, MemoryMap } from '@iothreads/linux';
import { fstatSync } from 'node:fs';
import { protocolError } from './vhost-user-error.js';

/** Smallest page there is. */
const PAGE_BYTES = 4096;
/** What lies there is read through typed arrays, which need natural alignment. */
const WORD_BYTES = 8;

/** A part of a file that the front end shares, mapped into this process. */
export class SharedMapping {
  /** Where its first byte is. */
  readonly address: number;
  readonly #map: MemoryMap;

  /**
   * @param fd stays the caller's; the mapping keeps the file
   * @param name what it is, for errors
   * @throws VhostUserError `ERR_PROTOCOL` when it reaches beyond its file, or can't be mapped
   */
  constructor(fd: number, offset: number, size: number, name: string) {
    if (offset % WORD_BYTES !== 0)
      throw protocolError(`${name}: its file offset must be a multiple of ${WORD_BYTES}`);
    // As bigints: what a front end sends may be a socket, and see `AS_BIGINT` beside the listening socket for what that does.
    const file = fstatSync(fd, { bigint: true });
    const fileBytes = Number(file.size);
    if (!file.isFile()) throw protocolError(`${name}: its descriptor is no file`);
    // Beyond its end the mapping exists, and the first access ends the process.
    if (offset > fileBytes || size > fileBytes - offset) {
      throw protocolError(`${name}, ${offset} bytes into its file, reaches beyond the file's ${fileBytes}`);
    }
    // Huge pages are mapped and unmapped whole: their file systems tell their size here.
    const blockBytes = Number(file.blksize);
    const unit = blockBytes % PAGE_BYTES === 0 ? Math.max(PAGE_BYTES, blockBytes) : PAGE_BYTES;
    const inUnit = offset % unit;
    const byteLength = Math.ceil((inUnit + size) / unit) * unit;
    try {
      this.#map = new MemoryMap(fd, byteLength, offset - inUnit);
    } catch (error) {
      if (!(error instanceof LinuxError)) throw error;
      throw protocolError(`${name} can't be mapped: ${error.message}`);
    }
    // Nobody who looks into a crash of ours needs the guest's secrets.
    this.#map.leaveOutOfDumps();
    this.address = this.#map.address + inUnit;
  }

  /** Nobody may work in it any more. */
  unmap(): void {
    this.#map.unmap();
  }
}
