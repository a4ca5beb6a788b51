import { holdDrive, openDrive, type DriveOptions } from '@iothreads/backends';
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { isMainThread } from 'node:worker_threads';
import { describe, expect, test } from 'vitest';
import { driverError, temporaryDirectory } from './support.js';

const GOOD = 'export default { size: 1024, pread() {} };';
const clock = { nowNs: () => 0, attend: () => {} };

function moduleFile(source: string, name = 'disk.mjs'): string {
  const filename = join(temporaryDirectory(), name);
  writeFileSync(filename, source);
  return filename;
}

function drive(url: string, options?: unknown): DriveOptions {
  return { driver: 'module', url, options };
}

describe('a module is found by', () => {
  test('an absolute path, a file URL and a relative path', async () => {
    const filename = moduleFile(GOOD);
    const href = pathToFileURL(filename).href;
    // Deep enough for a relative path to begin with ../ wherever the test runs.
    const fromHere = relative(process.cwd(), filename);
    expect(fromHere.startsWith('../')).toBe(true);
    for (const url of [filename, href, fromHere]) {
      const { prepared } = await holdDrive(drive(url));
      expect(prepared.state).toEqual({ url: href, options: undefined, size: 1024 });
      expect(prepared.geometry.sizeBytes).toBe(1024);
    }
  });

  test.skipIf(!isMainThread)('a package name that the working directory sees', async () => {
    const directory = temporaryDirectory();
    const packageDirectory = join(directory, 'node_modules', 'my-disk');
    mkdirSync(packageDirectory, { recursive: true });
    writeFileSync(join(packageDirectory, 'disk.mjs'), GOOD);
    const manifest = (exported: unknown) => JSON.stringify({ name: 'my-disk', exports: exported });
    writeFileSync(join(packageDirectory, 'package.json'), manifest('./disk.mjs'));
    const cwd = process.cwd();
    process.chdir(directory);
    try {
      const { prepared } = await holdDrive(drive('my-disk'));
      expect(prepared.geometry.sizeBytes).toBe(1024);
      expect((prepared.state as { url: string }).url).toMatch(/^file:.*\/my-disk\/disk\.mjs$/);
    } finally {
      process.chdir(cwd);
    }
  });

  test.skipIf(!isMainThread)(
    'never a package that offers itself to import alone: the error says so',
    async () => {
      const directory = temporaryDirectory();
      const packageDirectory = join(directory, 'node_modules', 'import-only-disk');
      mkdirSync(packageDirectory, { recursive: true });
      writeFileSync(
        join(packageDirectory, 'package.json'),
        JSON.stringify({ name: 'import-only-disk', exports: { import: './disk.mjs' } }),
      );
      const cwd = process.cwd();
      process.chdir(directory);
      try {
        const error = await driverError(() => holdDrive(drive('import-only-disk')));
        expect(error.code).toBe('ERR_DRIVE_MODULE');
        expect(error.message).toMatch(/^module import-only-disk: .* name its file by a path$/);
      } finally {
        process.chdir(cwd);
      }
    },
  );
});

test.each([
  ['an object as default', GOOD],
  ['a function as default', 'export default () => ({ size: 1024, pread() {} });'],
  ['a function that promises one', 'export default async () => ({ size: 1024, pread() {} });'],
  ['an export named createDisk', 'export function createDisk() { return { size: 1024, pread() {} }; }'],
  [
    'an instance of a class',
    'class Disk { get size() { return 1024; } pread() {} } export default () => new Disk();',
  ],
])('a disk can be exported as %s', async (_, source) => {
  const { prepared } = await holdDrive(drive(moduleFile(source)));
  expect(prepared.geometry.sizeBytes).toBe(1024);
});

describe('a mistake in a module is named, with its url', () => {
  test.each([
    [
      'export const disk = 1;',
      'has no default export and none named createDisk; export a disk or a function',
    ],
    ['export default 3;', 'gives no disk but 3; a disk is an object with size and pread'],
    ['export default () => null;', 'gives no disk but null; a disk is an object with size and pread'],
    ['export default () => { throw new Error("out of discs"); };', 'could not make its disk: out of discs'],
    ['export default async () => { throw "discs"; };', 'could not make its disk: "discs"'],
    ['export default { pread() {} };', "the disk's size is undefined; it must be a positive multiple of 512"],
    [
      'export default { size: 1000, pread() {} };',
      "the disk's size is 1000; it must be a positive multiple of 512",
    ],
    [
      'export default { size: 1024n, pread() {} };',
      "the disk's size is 1024n; it must be a positive multiple of 512",
    ],
    ['export default { size: 512 };', 'the disk needs a method pread(buffer, offset), has undefined'],
    [
      'export default { size: 512, pread() {}, pwrite: true };',
      "the disk's pwrite must be a method or absent, is true",
    ],
    [
      'export default { size: 512, pread() {}, readOnly: 1 };',
      "the disk's readOnly must be true or false, is 1",
    ],
    [
      'export default { size: 512, pread() {}, close() { throw new Error("stuck"); } };',
      'the disk could not be closed: stuck',
    ],
    ['throw new Error("not today");', "can't be loaded: not today"],
  ])('%s', async (source, message) => {
    const filename = moduleFile(source);
    const error = await driverError(() => holdDrive(drive(filename)));
    expect(error.code).toBe('ERR_DRIVE_MODULE');
    expect(error.message).toBe(`module ${pathToFileURL(filename).href}: ${message}`);
  });

  test('that is not there', async () => {
    const filename = join(temporaryDirectory(), 'absent.mjs');
    const error = await driverError(() => holdDrive(drive(filename)));
    expect(error.code).toBe('ERR_DRIVE_MODULE');
    expect(error.message).toContain(`module ${pathToFileURL(filename).href}: can't be loaded: `);
  });

  test('that was written like a package but is a file', async () => {
    const error = await driverError(() => holdDrive(drive('absent-disk.mjs')));
    expect(error.code).toBe('ERR_DRIVE_MODULE');
    expect(error.message).toMatch(/^module absent-disk\.mjs: .*no such package.*\.\/absent-disk\.mjs$/);
  });

  // In a process of its own: what runs the tests may have taught this one to import TypeScript.
  test('in TypeScript, where Node.js can not import it; where it can, it is a disk like any other', () => {
    const filename = moduleFile(GOOD, 'disk.ts');
    const script = `
      import { holdDrive } from '@iothreads/backends';
      const drive = { driver: 'module', url: ${JSON.stringify(filename)} };
      await holdDrive(drive).then(({ prepared }) => console.log(prepared.driver), ({ code, message }) => console.log(code, message));`;
    const output = execFileSync(process.execPath, ['--input-type=module', '--eval', script], {
      cwd: new URL('..', import.meta.url),
      env: {},
      encoding: 'utf8',
      timeout: 60_000,
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    if ('typescript' in process.features && process.features.typescript !== false)
      expect(output).toBe('module\n');
    else {
      expect(output).toMatch(
        /^ERR_DRIVE_MODULE module file:.*disk\.ts: Node\.js .* can't import TypeScript; compile/,
      );
    }
  });
});

test('the disk made for the geometry is closed before the drive is held, and that of an iothread by close', async () => {
  const filename = moduleFile(`export default ({ counts }) => {
    const made = new Int32Array(counts);
    made[0]++;
    return { size: 512, pread() {}, async close() { await null; made[1]++; } };
  };`);
  const counts = new SharedArrayBuffer(8);
  const { prepared } = await holdDrive(drive(filename, { counts }));
  expect([...new Int32Array(counts)]).toEqual([1, 1]);
  const driver = await openDrive(structuredClone(prepared), clock);
  expect([...new Int32Array(counts)]).toEqual([2, 1]);
  await driver.close();
  expect([...new Int32Array(counts)]).toEqual([2, 2]);
});

test('a module that changes its options changes only its own copy', async () => {
  const filename = moduleFile(
    'export default (options) => { const { size } = options; options.size = 1; return { size, pread() {} }; };',
  );
  const options = { size: 1024 };
  const { prepared } = await holdDrive(drive(filename, options));
  expect(options).toEqual({ size: 1024 });
  const driver = await openDrive(prepared, clock);
  expect(driver.geometry.sizeBytes).toBe(1024);
});

test('a disk of another size than it was prepared with is refused and closed', async () => {
  const filename = moduleFile(`export default ({ counts }) => {
    const state = new Int32Array(counts);
    return { size: 512 * ++state[0], pread() {}, close() { state[1]++; } };
  };`);
  const counts = new SharedArrayBuffer(8);
  const { prepared } = await holdDrive(drive(filename, { counts }));
  const error = await driverError(() => openDrive(prepared, clock));
  expect(error.code).toBe('ERR_DRIVE_MODULE');
  expect(error.message).toContain("the disk's size was 512 and is 1024 now");
  expect([...new Int32Array(counts)]).toEqual([2, 2]);
});
