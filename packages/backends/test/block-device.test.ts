import { BlockOperation, VIRTIO_BLK_S_OK } from '@iothreads/core';
import { execFileSync, spawnSync } from 'node:child_process';
import { readFileSync, truncateSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { fileCases, image, openVariant } from './file-variants.js';
import { driverError, expectBytes, hold, onTestEnd, pattern } from './support.js';
import { writeAndRead } from './write-and-read.js';

const MIB = 1024 ** 2;

/** A block device over a file, gone with the test. @returns undefined where this system allows none */
function loopDevice(filename: string, sectorBytes = 512): string | undefined {
  const made = spawnSync('losetup', ['--find', '--show', '--sector-size', String(sectorBytes), filename], {
    encoding: 'utf8',
  });
  if (made.status !== 0) return undefined;
  const device = made.stdout.trim();
  onTestEnd(() => {
    spawnSync('losetup', ['--detach', device]);
  });
  return device;
}

/** Whether block devices can be made here: that takes root, and more. */
function hasLoopDevices(): boolean {
  if (process.platform !== 'linux') return false;
  const filename = image(new Uint8Array(4096));
  const made = spawnSync('losetup', ['--find', '--show', filename], { encoding: 'utf8' });
  if (made.status !== 0) return false;
  return spawnSync('losetup', ['--detach', made.stdout.trim()]).status === 0;
}

const linuxCases = fileCases.filter(({ variant }) => variant.portable !== true);

describe.runIf(hasLoopDevices())('a block device', () => {
  test.each(fileCases)('$title: its real size, and every byte of it', async ({ variant, mode }) => {
    const contents = pattern(3 * MIB + 512);
    const filename = image(contents);
    const device = loopDevice(filename)!;
    const disk = await openVariant(variant, device);
    expect(disk.driver.geometry.sizeBytes).toBe(contents.length);
    const read = disk.owner.transfer(BlockOperation.READ, 3 * MIB - 512, [[512, 1024]]);
    expect(await disk.run(mode, read)).toBe(VIRTIO_BLK_S_OK);
    expectBytes(disk.memory.read(512, 1024), contents.subarray(3 * MIB - 512));
    disk.memory.write(0, new Uint8Array(512).fill(5));
    const write = disk.owner.transfer(BlockOperation.WRITE, 3 * MIB, [[0, 512]]);
    expect(await disk.run(mode, write)).toBe(VIRTIO_BLK_S_OK);
    expect(await disk.run(mode, disk.owner.flush())).toBe(VIRTIO_BLK_S_OK);
    expectBytes(readFileSync(filename), contents.fill(5, 3 * MIB));
    await disk.driver.close();
  });

  test.each(linuxCases)('$title: discards and zeroes ranges', async ({ variant, mode }) => {
    const filename = image(pattern(4 * MIB));
    const disk = await openVariant(variant, loopDevice(filename)!, { discard: 'unmap' });
    const { owner } = disk;
    const zero = owner.ranges(BlockOperation.WRITE_ZEROES, [512, 1536], [MIB, MIB, true]);
    expect(await disk.run(mode, zero)).toBe(VIRTIO_BLK_S_OK);
    const discard = owner.ranges(BlockOperation.DISCARD, [3 * MIB, MIB]);
    expect(await disk.run(mode, discard)).toBe(VIRTIO_BLK_S_OK);
    expect(await disk.run(mode, owner.flush())).toBe(VIRTIO_BLK_S_OK);
    const expected = pattern(4 * MIB)
      .fill(0, 512, 2048)
      .fill(0, MIB, 2 * MIB)
      .fill(0, 3 * MIB);
    expectBytes(readFileSync(filename), expected);
    await disk.driver.close();
  });

  test.each(linuxCases)(
    '$title: sectors of 4096 bytes, and requests that are not made of them',
    async ({ variant, mode }) => {
      const expected = pattern(MIB);
      const filename = image(expected);
      const disk = await openVariant(variant, loopDevice(filename, 4096)!, { discard: 'unmap' });
      const { owner } = disk;
      for (const [position, byteLength] of [
        [0, 4096],
        [512, 512],
        [4096, 1024],
        [3584, 1024],
        [8192, 8192],
        [16384 + 512, 16384],
      ] as const) {
        disk.memory.write(4096, pattern(byteLength, position));
        const write = owner.transfer(BlockOperation.WRITE, position, [[4096, byteLength]]);
        expect(await disk.run(mode, write)).toBe(VIRTIO_BLK_S_OK);
        expected.set(pattern(byteLength, position), position);
        const read = owner.transfer(BlockOperation.READ, position, [[65536, byteLength]]);
        expect(await disk.run(mode, read)).toBe(VIRTIO_BLK_S_OK);
        expectBytes(disk.memory.read(65536, byteLength), pattern(byteLength, position));
      }
      for (const [position, byteLength, unmap] of [
        [65536, 8192, false],
        [65536 + 8192 + 512, 1024, false],
        [131072 + 512, 8192, true],
      ] as const) {
        const zero = owner.ranges(BlockOperation.WRITE_ZEROES, [position, byteLength, unmap]);
        expect(await disk.run(mode, zero)).toBe(VIRTIO_BLK_S_OK);
        expected.fill(0, position, position + byteLength);
      }
      // Less than a sector can't be discarded, which is no error.
      const discard = owner.ranges(BlockOperation.DISCARD, [262144 + 512, 512]);
      expect(await disk.run(mode, discard)).toBe(VIRTIO_BLK_S_OK);
      expect(await disk.run(mode, owner.flush())).toBe(VIRTIO_BLK_S_OK);
      expectBytes(readFileSync(filename), expected);
      await disk.driver.close();
    },
  );

  test('is served where no system call tells its size: it is found by reading', () => {
    const filename = image(new Uint8Array(3 * MIB + 512));
    const [outcome] = writeAndRead('no-system-calls.mjs', {
      driver: 'file',
      filename: loopDevice(filename)!,
    });
    expect(outcome).toMatchObject({ access: 'node', sizeBytes: 3 * MIB + 512, worked: true });
  });

  test('has the size that it has: resize takes it over when it has changed', async () => {
    const filename = image(new Uint8Array(MIB));
    const device = loopDevice(filename)!;
    const held = await hold({ driver: 'file', filename: device });
    const error = await driverError(() => held.resize(2 * MIB));
    expect(error.code).toBe('ERR_DRIVE_SIZE');
    expect(error.message).toBe(
      `${device}: is a block device of ${MIB} bytes; it can be given that size only`,
    );
    truncateSync(filename, 2 * MIB);
    execFileSync('losetup', ['--set-capacity', device]);
    expect((await held.resize(2 * MIB)).geometry.sizeBytes).toBe(2 * MIB);
  });
});
