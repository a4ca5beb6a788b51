import { constants } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { BlockDriverError } from '../block-driver.js';
import type { HeldDrive } from '../block-driver-type.js';
import type { FileOptions } from './file-driver-type.js';
import { imageSizeBytes, openImage, type OpenedImage } from './file-image.js';
import { closeAll, HeldFile } from './held-file.js';
import type { DirectState, FileDriverState } from './image-file.js';
import { loadLinux, type Linux, type NoLinux } from './load-linux.js';

/** A dead process's locks have been seen for 70 ms after its end, on a busy machine. */
const DEAD_PROCESS_MS = 1000;
const LOCK_PAUSE_MS = 5;

/** What has been said once is not said again for the next file. */
const told = new Set<string>();

/**
 * Opens an image for as long as it is in use, locks it, and decides how iothreads are to work on it.
 *
 * @throws BlockDriverError naming the file and what to do
 */
export async function holdFile(options: FileOptions, readOnly: boolean): Promise<HeldDrive<FileDriverState>> {
  // Absolute: the working directory may be another one by the time that somebody reads the message.
  const filename = resolve(options.filename);
  const found = await loadLinux();
  const linux = 'reason' in found ? undefined : found;
  const notices: string[] = [];
  if ('reason' in found) checkPortable(filename, options, found, notices);
  const image = await openFile(filename, options, readOnly);
  const fds = [image.fd];
  try {
    const locks = linux !== undefined && options.locking !== 'off';
    const unlock = locks ? await lock(filename, image, options, readOnly, notices) : () => {};
    const sizeBytes = await imageSizeBytes(filename, image, linux);
    const direct = options.cacheDirect ? await prepareDirect(filename, image, readOnly) : undefined;
    if (direct !== undefined) fds.push(direct.bufferedFd);
    const state: FileDriverState = {
      filename,
      fd: image.fd,
      access: linux === undefined ? 'node' : chooseAccess(filename, options, linux, notices),
      unmap: options.discard === 'unmap',
      noFlush: options.cacheNoFlush,
      flushed: new SharedArrayBuffer(4),
      direct,
    };
    const geometry = { sizeBytes, readOnly, discard: !readOnly, writeZeroes: !readOnly };
    return new HeldFile({ driver: 'file', geometry, offset: 0, state }, image.stats, notices, linux, unlock);
  } catch (error) {
    await closeAll(fds);
    throw error;
  }
}

/** What is refused, and what is done in another way, where there are no system calls. */
function checkPortable(filename: string, options: FileOptions, { reason }: NoLinux, notices: string[]): void {
  if (options.cacheDirect) {
    throw new BlockDriverError('ENOTSUP', `${filename}: cache.direct (cacheDirect) can't be had: ${reason}`);
  }
  if (options.locking === 'on') {
    throw new BlockDriverError(
      'ENOTSUP',
      `${filename}: locking=on can't be had: ${reason}; say locking=off to do without`,
    );
  }
  const missed = [
    ...(options.aio === 'io_uring' || options.aio === 'native' ? [`aio=${options.aio}`] : []),
    ...(options.discard === 'unmap' ? ['discard=unmap'] : []),
  ];
  if (missed.length > 0) notices.push(`${filename}: is served without ${missed.join(' and ')}: ${reason}`);
  else if (process.platform === 'linux')
    tellOnce(notices, `files are served without io_uring and locks: ${reason}`);
}

async function openFile(filename: string, options: FileOptions, readOnly: boolean): Promise<OpenedImage> {
  if (!options.cacheDirect) return openImage(filename, readOnly);
  try {
    return await openImage(filename, readOnly, constants.O_DIRECT);
  } catch (error) {
    if (!(error instanceof BlockDriverError) || error.code !== 'EINVAL') throw error;
    const { noDirectError } = await import('./linux/direct-alignment.js');
    throw noDirectError(filename);
  }
}

/** @returns how to unlock it again */
async function lock(
  filename: string,
  { fd }: OpenedImage,
  { locking }: FileOptions,
  readOnly: boolean,
  notices: string[],
): Promise<() => void> {
  const { lockImage, unlockImage } = await import('./linux/image-locks.js');
  if (
    await outliveTheDead(
      () => lockImage(filename, fd, readOnly),
      () => unlockImage(fd),
    )
  ) {
    return () => unlockImage(fd);
  }
  if (locking === 'on') {
    throw new BlockDriverError(
      'ENOTSUP',
      `${filename}: locking=on can't be had: its file system has no locks; say locking=off to do without`,
    );
  }
  if (!readOnly)
    notices.push(`${filename}: its file system has no locks: make sure that nobody else writes to it`);
  return () => {};
}

/**
 * Takes locks that a process may still have which has been killed: the kernel puts its io_uring away, and the files of that, a while
 * after everybody has been told that it is gone.
 */
async function outliveTheDead(take: () => boolean, giveBack: () => void): Promise<boolean> {
  const endMs = performance.now() + DEAD_PROCESS_MS;
  for (;;) {
    try {
      return take();
    } catch (error) {
      const isLocked = error instanceof BlockDriverError && error.code === 'ERR_DRIVE_LOCKED';
      if (!isLocked || performance.now() > endMs) throw error;
      // Who is refused may have taken some of them, which would refuse others.
      giveBack();
      await setTimeout(LOCK_PAUSE_MS);
    }
  }
}

async function prepareDirect(filename: string, image: OpenedImage, readOnly: boolean): Promise<DirectState> {
  const { directAlignment } = await import('./linux/direct-alignment.js');
  const alignment = await directAlignment(filename, image.fd, image.stats);
  // Every request's position and length are multiples of 512 anyway. Where sectors are larger, the others go through the
  // page cache: its blocks are as large as the sectors, so that both ways never have the same block to write.
  const bufferedFd = alignment > 512 ? (await openImage(filename, readOnly)).fd : image.fd;
  return { alignment, bufferedFd };
}

function chooseAccess(
  filename: string,
  { aio }: FileOptions,
  { IoUring, LinuxError }: Linux,
  notices: string[],
): FileDriverState['access'] {
  if (aio === 'threads') return 'threads';
  try {
    // A trial: to have one says more than any version.
    new IoUring(1).close();
  } catch (error) {
    if (!(error instanceof LinuxError)) throw error;
    tellOnce(
      notices,
      `io_uring can't be had on this system (${error.message}): files are served by threads instead`,
    );
    return 'threads';
  }
  if (aio === 'native') notices.push(`${filename}: aio=native is served by io_uring`);
  return 'io_uring';
}

function tellOnce(notices: string[], notice: string): void {
  if (told.has(notice)) return;
  told.add(notice);
  notices.push(notice);
}
