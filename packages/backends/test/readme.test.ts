import { BlockOperation, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK } from '@iothreads/core';
import { parseDrive, type BlockDriver } from '@iothreads/backends';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { afterAll, expect, test } from 'vitest';
import { TestDisk, expectBytes, pattern } from './support.js';

const readme = readFileSync(new URL('../README.md', import.meta.url), 'utf8');
const snippets = [...readme.matchAll(/^```js\n(.*?)^```$/gms)].map((match) => match[1]!);

// Inside the package, where the snippets' imports are found; not in the source tree.
const modules = fileURLToPath(new URL('../node_modules/', import.meta.url));
mkdirSync(modules, { recursive: true });
const directory = mkdtempSync(join(modules, '.readme-'));
afterAll(() => {
  rmSync(directory, { recursive: true });
});

function snippetFile(name: string): string {
  const source = snippets.find((snippet) => snippet.startsWith(`// ${name}\n`));
  const filename = join(directory, name);
  writeFileSync(filename, source!);
  return filename;
}

test("README: the user's disk holds what is written to it", async () => {
  const url = snippetFile('sparse-disk.mjs');
  const disk = await TestDisk.open({ driver: 'module', url, options: { size: 1024 ** 3 } });
  expect(disk.driver.geometry).toEqual({
    sizeBytes: 1024 ** 3,
    readOnly: false,
    discard: true,
    writeZeroes: true,
  });
  const { owner } = disk;
  disk.memory.write(0, pattern(8192));
  const run = async (operation: BlockOperation, position: number, address: number): Promise<void> => {
    const request = owner.transfer(operation, position, [[address, 8192]]);
    expect(await disk.run('async', request)).toBe(VIRTIO_BLK_S_OK);
  };
  await run(BlockOperation.WRITE, 1024 ** 2 + 1536, 0);
  await run(BlockOperation.READ, 1024 ** 2 + 1536, 16384);
  expectBytes(disk.memory.read(16384, 8192), pattern(8192));
  await disk.run('async', owner.ranges(BlockOperation.DISCARD, [1024 ** 2, 12288]));
  await run(BlockOperation.READ, 1024 ** 2 + 1536, 16384);
  expectBytes(disk.memory.read(16384, 8192), new Uint8Array(8192));
  await disk.driver.close();
});

test('README: the drive is one that is accepted', () => {
  const source = snippets.find((snippet) => snippet.startsWith('const drive = '))!;
  const literal = source.replace('const drive = ', '').replace(/;\s*$/, '');
  // eslint-disable-next-line no-implied-eval
  expect(parseDrive(new Function(`return (${literal})`)()).type.name).toBe('module');
});

test('README: the wrapping driver fails its sector alone', async () => {
  const { BadSector } = (await import(pathToFileURL(snippetFile('bad-sector.mjs')).href)) as {
    BadSector: new (inner: BlockDriver, sector: number) => BlockDriver;
  };
  const inner = await TestDisk.open({ driver: 'memory', size: 8192 });
  const disk = new TestDisk(new BadSector(inner.driver, 3));
  for (const mode of ['sync', 'async'] as const) {
    const statuses: number[] = [];
    for (const position of [512, 1024, 1536, 2048]) {
      const request = disk.owner.transfer(BlockOperation.READ, position, [[0, 512]]);
      statuses.push(await disk.run(mode, request));
    }
    expect(statuses).toEqual([VIRTIO_BLK_S_OK, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK]);
  }
  await disk.driver.close();
});
