import { createRequire } from 'node:module';
import { isAbsolute, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { BlockDriverError } from '../block-driver.js';
import { describeValue, isDiskSize, isPlainObject } from '../parse-options.js';
import type { CreateDisk, UserDisk } from './user-disk.js';

/**
 * What to import for a drive's `url`, whatever the working directory is by then: file URLs stay, paths become file URLs
 * (relative ones begin with `./` or `../`), everything else is a package that the working directory can see.
 *
 * @throws BlockDriverError `ERR_DRIVE_MODULE` when there is no such package
 */
export function resolveModuleUrl(url: string): string {
  if (URL.canParse(url) && !isAbsolute(url)) return url;
  const cwd = process.cwd();
  if (isAbsolute(url)) return pathToFileURL(url).href;
  if (/^\.\.?[/\\]/.test(url)) return pathToFileURL(join(cwd, url)).href;
  try {
    // From the working directory on: a user's packages need not be visible from where this package is installed.
    const found = createRequire(join(cwd, 'noop.js')).resolve(url);
    return isAbsolute(found) ? pathToFileURL(found).href : found;
  } catch (error) {
    const hidden = (error as NodeJS.ErrnoException).code === 'ERR_PACKAGE_PATH_NOT_EXPORTED';
    throw moduleError(
      url,
      hidden
        ? `the package that ${cwd} sees exports it to "import" alone, or not at all; name its file by a path`
        : `${cwd} sees no such package; a file there is written as ./${url}`,
      error,
    );
  }
}

/**
 * Loads a user's disk on this thread and checks it.
 *
 * @param url as `resolveModuleUrl` returned it
 * @throws BlockDriverError `ERR_DRIVE_MODULE`, naming the url
 */
export async function loadUserDisk(url: string, options: unknown): Promise<UserDisk> {
  let exported: unknown;
  try {
    exported = await importDisk(url);
  } catch (error) {
    throw moduleError(url, importAdvice(url, error), error);
  }
  if (exported === undefined) {
    throw moduleError(url, 'has no default export and none named createDisk; export a disk or a function');
  }
  let disk: unknown = exported;
  if (typeof exported === 'function') {
    try {
      disk = await (exported as CreateDisk)(options);
    } catch (error) {
      throw moduleError(url, `could not make its disk: ${messageOf(error)}`, error);
    }
  }
  checkUserDisk(url, disk);
  return disk;
}

async function importDisk(url: string): Promise<unknown> {
  const namespace = (await import(url)) as Record<string, unknown>;
  return namespace['default'] ?? namespace['createDisk'];
}

function checkUserDisk(url: string, disk: unknown): asserts disk is UserDisk {
  if (!isPlainObject(disk)) {
    throw moduleError(
      url,
      `gives no disk but ${describeValue(disk)}; a disk is an object with size and pread`,
    );
  }
  if (!isDiskSize(disk['size'])) {
    throw moduleError(
      url,
      `the disk's size is ${describeValue(disk['size'])}; it must be a positive multiple of 512`,
    );
  }
  if (typeof disk['pread'] !== 'function') {
    throw moduleError(
      url,
      `the disk needs a method pread(buffer, offset), has ${describeValue(disk['pread'])}`,
    );
  }
  for (const method of ['pwrite', 'flush', 'trim', 'zero', 'close']) {
    const value = disk[method];
    if (value === undefined || typeof value === 'function') continue;
    throw moduleError(url, `the disk's ${method} must be a method or absent, is ${describeValue(value)}`);
  }
  const readOnly = disk['readOnly'];
  if (readOnly !== undefined && typeof readOnly !== 'boolean') {
    throw moduleError(url, `the disk's readOnly must be true or false, is ${describeValue(readOnly)}`);
  }
}

function importAdvice(url: string, error: unknown): string {
  const code = (error as NodeJS.ErrnoException | undefined)?.code;
  if (code === 'ERR_UNKNOWN_FILE_EXTENSION' && /\.[mc]?ts$/.test(url)) {
    return (
      `Node.js ${process.versions.node} can't import TypeScript; ` +
      'compile the disk to JavaScript first, or use Node.js 22.18 or later'
    );
  }
  return `can't be loaded: ${messageOf(error)}`;
}

/** An error about a module; always `ERR_DRIVE_MODULE`, always naming the url. */
export function moduleError(url: string, message: string, cause?: unknown): BlockDriverError {
  return new BlockDriverError(
    'ERR_DRIVE_MODULE',
    `module ${url}: ${message}`,
    cause === undefined ? undefined : { cause },
  );
}

/** What a user's code threw, as text. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : describeValue(error);
}
