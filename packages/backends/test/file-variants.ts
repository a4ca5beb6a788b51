import type { FileDriveOptions, PreparedDrive } from '@iothreads/backends';
import { readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { TestDisk, hold, temporaryDirectory } from './support.js';

/** A way in which the file driver works. */
export interface FileVariant {
  readonly name: string;
  readonly options: Omit<FileDriveOptions, 'driver' | 'filename'>;
  /** By Node.js's own functions, as where there are no system calls. */
  readonly portable?: boolean;
}

const portable: FileVariant = { name: 'Node.js alone', options: {}, portable: true };

/** Those that this system has. */
export const fileVariants: readonly FileVariant[] =
  process.platform === 'linux'
    ? [
        portable,
        { name: 'threads', options: { aio: 'threads' } },
        { name: 'io_uring', options: { aio: 'io_uring' } },
        { name: 'threads, direct', options: { aio: 'threads', cacheDirect: true } },
        { name: 'io_uring, direct', options: { aio: 'io_uring', cacheDirect: true } },
      ]
    : [portable];

/** Each variant, both synchronously and not. */
export const fileCases = fileVariants.flatMap((variant) =>
  (['sync', 'async'] as const).map((mode) => ({ title: `${variant.name}, ${mode}`, variant, mode })),
);

/** An image of `contents` in a file of its own. */
export function image(contents: Uint8Array): string {
  const filename = join(temporaryDirectory(), 'disk.img');
  writeFileSync(filename, contents);
  return filename;
}

/** Opens an image, which is held until the test ends. */
export async function openVariant(
  variant: FileVariant,
  filename: string,
  more: FileVariant['options'] = {},
): Promise<TestDisk> {
  const { prepared } = await hold({ driver: 'file', filename, ...variant.options, ...more });
  return TestDisk.openPrepared(variant.portable === true ? asPortable(prepared) : prepared);
}

/** What `hold` says where `@iothreads/linux` can't be loaded; a test in a process of its own holds it to that. */
export const asPortable = (prepared: PreparedDrive): PreparedDrive => ({
  ...prepared,
  state: { ...(prepared.state as object), access: 'node' },
});

/** What the descriptors are that this process has open (Linux). */
export function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      // That of the directory itself is closed by now.
      return [];
    }
  });
}
