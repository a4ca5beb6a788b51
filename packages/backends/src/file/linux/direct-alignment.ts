import { blockDeviceSectorBytes, LinuxError, readAt } from '@iothreads/linux';
import { SECTOR_SIZE } from '@iothreads/core';
import type { Stats } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { BlockDriverError } from '../../block-driver.js';
import { AlignedMemory, MEMORY_ALIGNMENT } from './aligned-memory.js';

/**
 * What direct I/O on an open image wants positions and lengths to be multiples of, bytes: 512 or 4096.
 *
 * @throws BlockDriverError `EINVAL` when there is none
 */
export async function directAlignment(filename: string, fd: number, stats: Stats): Promise<number> {
  if (stats.isBlockDevice()) return blockDeviceSectorBytes(fd);
  // A trial alone may be wrong: some file systems read the holes of a file with any alignment.
  const least = await sectorBytesBeneath(stats.dev);
  const memory = new AlignedMemory(MEMORY_ALIGNMENT);
  for (let alignment = least; alignment <= MEMORY_ALIGNMENT; alignment *= 2) {
    try {
      readAt(fd, memory.address, alignment, 0);
      return alignment;
    } catch (error) {
      if (!(error instanceof LinuxError) || error.code !== 'EINVAL') throw error;
    }
  }
  throw noDirectError(filename);
}

export const noDirectError = (filename: string): BlockDriverError =>
  new BlockDriverError(
    'EINVAL',
    `${filename}: its file system has no direct I/O; leave cache.direct (cacheDirect) out`,
  );

/** Logical block size of the disk that a file system is on, 512 where it is on none of its own. */
async function sectorBytesBeneath(device: number): Promise<number> {
  const { major, minor } = splitDevice(device);
  const disk = `/sys/dev/block/${major}:${minor}`;
  // A partition's queue is its disk's.
  for (const queue of [`${disk}/queue`, `${disk}/../queue`]) {
    const text = await readFile(`${queue}/logical_block_size`, 'utf8').catch(() => '');
    const bytes = Number(text);
    if (bytes >= SECTOR_SIZE && bytes <= MEMORY_ALIGNMENT) return bytes;
  }
  return SECTOR_SIZE;
}

/** Linux's dev_t as stat(2) gives it: 8 bits of the minor number, the 12 of the major one, the rest of the minor one. */
const splitDevice = (device: number): { major: number; minor: number } => ({
  major: (device >>> 8) & 0xfff,
  minor: (device & 0xff) | ((device >>> 12) & 0xfff00),
});
