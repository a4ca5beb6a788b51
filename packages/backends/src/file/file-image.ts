import { SECTOR_SIZE } from '@iothreads/core';
import { constants, type Stats } from 'node:fs';
import { open, stat, type FileHandle } from 'node:fs/promises';
import { BlockDriverError } from '../block-driver.js';
import { isDiskSize } from '../parse-options.js';

/**
 * Opens a raw image: a regular file or a block device.
 *
 * @throws BlockDriverError with the errno name as its code; the message names the file and says what to do
 */
export async function openImage(filename: string, readOnly: boolean): Promise<FileHandle> {
  try {
    // Before opening: to open a FIFO would wait for its other end.
    checkType(filename, await stat(filename));
    const handle = await open(filename, readOnly ? constants.O_RDONLY : constants.O_RDWR);
    try {
      checkType(filename, await handle.stat());
    } catch (error) {
      await handle.close();
      throw error;
    }
    return handle;
  } catch (error) {
    throw error instanceof BlockDriverError ? error : openError(filename, readOnly, error);
  }
}

/**
 * The disk's capacity in bytes.
 *
 * @throws BlockDriverError `ERR_DRIVE_SIZE` when it is no positive multiple of 512
 */
export async function imageSizeBytes(filename: string, handle: FileHandle): Promise<number> {
  const stats = await handle.stat();
  const size = stats.isBlockDevice() ? await probeSizeBytes(handle) : stats.size;
  if (isDiskSize(size)) return size;
  throw new BlockDriverError(
    'ERR_DRIVE_SIZE',
    size === 0
      ? `${filename}: is empty; give it the disk's size first, with truncate -s 1G for instance`
      : `${filename}: its size of ${size} bytes is not a multiple of 512; ` +
          `extend it with truncate -s ${Math.ceil(size / SECTOR_SIZE) * SECTOR_SIZE}`,
  );
}

/**
 * Size of a block device, for which stat(2) says 0 and Node.js has no other call: the first sector that can't be read,
 * found by halving.
 */
async function probeSizeBytes(handle: FileHandle): Promise<number> {
  const sector = new Uint8Array(SECTOR_SIZE);
  const readable = async (index: number): Promise<boolean> => {
    const { bytesRead } = await handle.read(sector, 0, SECTOR_SIZE, index * SECTOR_SIZE);
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
