import { execFileSync, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { closeSync, openSync, readSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { program } from './guest-kit.js';

/** Makes an image that is all hole, or begins with `content`. */
export function createImage(path: string, sizeBytes: number, content = new Uint8Array()): string {
  writeFileSync(path, content);
  truncateSync(path, sizeBytes);
  return path;
}

/** How much of the host's disk an image takes. */
export const allocatedBytes = (path: string): number => statSync(path).blocks * 512;

/** A part of an image. */
export function readImage(path: string, offset: number, length: number): Buffer {
  const bytes = Buffer.alloc(length);
  const fd = openSync(path, 'r');
  try {
    const read = readSync(fd, bytes, 0, length, offset);
    return bytes.subarray(0, read);
  } finally {
    closeSync(fd);
  }
}

/** In the words of the guest's sha256sum. */
export const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Looks over an ext4 without touching it. @returns nothing, or what is wrong with it */
export function faultsOf(image: string): string {
  const { status, stdout, stderr } = spawnSync(program('e2fsck'), ['-f', '-n', image], { encoding: 'utf8' });
  return status === 0 ? '' : `${stdout}${stderr}`;
}

/** What a mount would do first: the journal is replayed. */
export function replayJournal(image: string): void {
  // 1 says that something was done about it.
  const { status, stdout, stderr } = spawnSync(program('e2fsck'), ['-p', image], { encoding: 'utf8' });
  if (status !== 0 && status !== 1) throw new Error(`${stdout}${stderr}`);
}

/** A file of the ext4 in an image. */
export function readFileInImage(image: string, path: string): Buffer {
  return execFileSync(program('debugfs'), ['-R', `cat ${path}`, image], {
    maxBuffer: 64 << 20,
    stdio: ['ignore', 'pipe', 'ignore'],
  });
}
