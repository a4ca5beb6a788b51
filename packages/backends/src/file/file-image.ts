import { SECTOR_SIZE } from '@iothreads/core';
import { closeSync, constants, fstat, open, read, stat, type Stats } from 'node:fs';
import { promisify } from 'node:util';
import { BlockDriverError } from '../block-driver.js';
import { isDiskSize } from '../parse-options.js';
import type { Linux } from './load-linux.js';

/** An image that has been opened. Who has it closes the descriptor: nothing else would, and nothing else must. */
export interface OpenedImage {
  readonly fd: number;
  readonly stats: Stats;
}

/**
 * Opens a raw image: a regular file or a block device.
 *
 * @param flags of open(2) besides those for reading and writing
 * @throws BlockDriverError with the errno name as its code; the message names the file and says what to do
 */
export async function openImage(filename: string, readOnly: boolean, flags = 0): Promise<OpenedImage> {
  try {
    // Before opening: to open a FIFO would wait for its other end.
    checkType(filename, await promisify(stat)(filename));
    const fd = await promisify(open)(filename, (readOnly ? constants.O_RDONLY : constants.O_RDWR) | flags);
    try {
      const stats = await promisify(fstat)(fd);
      checkType(filename, stats);
      return { fd, stats };
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  } catch (error) {
    throw error instanceof BlockDriverError ? error : openError(filename, readOnly, error);
  }
}

/**
 * The disk's capacity in bytes.
 *
 * @throws BlockDriverError `ERR_DRIVE_SIZE` when it is no positive multiple of 512
 */
export async function imageSizeBytes(
  filename: string,
  { fd, stats }: OpenedImage,
  linux: Linux | undefined,
): Promise<number> {
  const size = stats.isBlockDevice() ? await blockDeviceBytes(fd, linux) : stats.size;
  if (isDiskSize(size)) return size;
  throw new BlockDriverError(
    'ERR_DRIVE_SIZE',
    size === 0
      ? `${filename}: is empty; give it the disk's size first, with truncate -s 1G for instance`
      : `${filename}: its size of ${size} bytes is not a multiple of 512; ` +
          `extend it with truncate -s ${Math.ceil(size / SECTOR_SIZE) * SECTOR_SIZE}`,
  );
}

/** stat(2) says 0 of block devices. */
const blockDeviceBytes = async (fd: number, linux: Linux | undefined): Promise<number> =>
  linux === undefined ? probeSizeBytes(fd) : linux.blockDeviceSizeBytes(fd);

/** Size of a block device where Node.js has no call for it: the first sector that can't be read, found by halving. */
async function probeSizeBytes(fd: number): Promise<number> {
  const sector = new Uint8Array(SECTOR_SIZE);
  const readable = async (index: number): Promise<boolean> => {
    const { bytesRead } = await promisify(read)(fd, sector, 0, SECTOR_SIZE, index * SECTOR_SIZE);
    return bytesRead === SECTOR_SIZE;
  };
  let sectors = 0;
  let beyond = Math.floor(Number.MAX_SAFE_INTEGER / SECTOR_SIZE);
  while (sectors < beyond) {
    const middle = sectors + Math.floor((beyond - sectors) / 2);
    if (await readable(middle)) sectors = middle + 1;
    else beyond = middle;
  }
  return sectors * SECTOR_SIZE;
}

function checkType(filename: string, stats: Stats): void {
  if (stats.isFile() || stats.isBlockDevice()) return;
  if (stats.isDirectory()) {
    throw new BlockDriverError('EISDIR', `${filename}: is a directory; name the image file in it`);
  }
  throw new BlockDriverError(
    'ENOTBLK',
    `${filename}: is ${typeName(stats)}; a disk must be a regular file or a block device`,
  );
}

function typeName(stats: Stats): string {
  if (stats.isFIFO()) return 'a FIFO';
  if (stats.isSocket()) return 'a socket';
  if (stats.isCharacterDevice()) return 'a character device';
  return 'of an unknown type';
}

function openError(filename: string, readOnly: boolean, cause: unknown): BlockDriverError {
  const code = (cause as NodeJS.ErrnoException | undefined)?.code ?? 'EIO';
  return new BlockDriverError(code, `${filename}: ${advice(code, readOnly, cause)}`, { cause });
}

function advice(code: string, readOnly: boolean, cause: unknown): string {
  switch (code) {
    case 'ENOENT':
      return 'does not exist; create it, with truncate -s 1G for instance';
    case 'ENOTDIR':
      return 'a part of the path is not a directory; correct the path';
    case 'EISDIR':
      return 'is a directory; name the image file in it';
    case 'EACCES':
    case 'EPERM':
      return readOnly
        ? 'no permission to read it; allow that to this user'
        : 'no permission to read and write it; allow that to this user, or attach it read-only';
    case 'EROFS':
      return 'is on a read-only file system; attach it read-only';
    case 'EMFILE':
    case 'ENFILE':
      return 'too many files are open; raise the limit (ulimit -n)';
    default:
      return `can't be opened: ${cause instanceof Error ? cause.message : String(cause)}`;
  }
}
