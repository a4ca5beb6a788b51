// What happens to an image file while a guest uses it: its disk fills up, or somebody cuts, removes or replaces it.
import type { DriveOptions } from '@iothreads/backends';
import { VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT } from '@iothreads/core';
import { IOThreadRuntime } from '@iothreads/iothread';
import { forceDispatch } from '@iothreads/iothread/testing';
import {
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { FillingDisk } from '../support/filling-disk.js';
import { createMemory, Guest } from '../support/guest.js';
import { totals } from '../support/statistics.js';
import { until, within } from '../support/within.js';

const BLOCK = 4096;
const SIZE = 256 * BLOCK;
const directory = mkdtempSync(join(tmpdir(), 'iothreads-images-'));
afterAll(() => rmSync(directory, { recursive: true }));

const ways = (
  process.platform === 'linux' ? (['io_uring', 'threads'] as const) : ([undefined] as const)
).flatMap((aio) => (['sync', 'async'] as const).map((mode) => ({ aio, mode })));

async function startGuest(
  runtime: IOThreadRuntime,
  drive: DriveOptions,
  mode: 'sync' | 'async',
): Promise<Guest> {
  await runtime.addIOThread({ id: 'io0' });
  const memory = createMemory();
  const device = await runtime.addDevice({ id: 'vda', iothread: 'io0', drive, memory });
  await forceDispatch(runtime, 'vda', mode);
  return Guest.start(device, memory);
}

const contentOf = (block: number): Uint8Array => new Uint8Array(BLOCK).fill(block + 1);

describe.each(ways)('an image that is used by $aio, $mode', ({ aio, mode }) => {
  const options = aio === undefined ? {} : { aio };

  test('whose disk fills up: once there is room everything is there that the guest has written', async () => {
    using disk = new FillingDisk(SIZE, 16 * BLOCK, options);
    await using runtime = new IOThreadRuntime();
    let pauses = 0;
    runtime.on('ioError', (_, { paused, action, errorCode }) => {
      expect([action, errorCode]).toEqual(['stop', 'ENOSPC']);
      if (paused) pauses++;
    });
    const { queue, device } = await startGuest(runtime, disk.node, mode);
    const blocks = Array.from({ length: 60 }, (_, block) => block);
    const writes = Promise.all(
      blocks.map((block) => queue.add(VIRTIO_BLK_T_OUT, block * 8, contentOf(block))),
    );
    queue.go();
    let room = 16 * BLOCK;
    await until('the end of the writes', async () => {
      if (device.ioStatus === 'nospace') {
        room += 16 * BLOCK;
        disk.makeRoom(room);
        await runtime.continueDevice('vda');
      }
      return queue.inFlight === 0;
    });
    const statuses = (await within(writes, 'the writes')).map(({ status }) => status);
    expect(statuses).toEqual(blocks.map(() => VIRTIO_BLK_S_OK));
    await queue.flush();
    expect(pauses).toBeGreaterThan(0);
    expect((await totals(runtime, 'vda')).errors).toBe(0);
    const image = readFileSync(disk.filename);
    for (const block of blocks) {
      expect(Buffer.compare(image.subarray(block * BLOCK, (block + 1) * BLOCK), contentOf(block))).toBe(0);
    }
  });

  test('that is cut: what is gone can not be read, the rest can, and all of it once it is long again', async () => {
    const filename = join(directory, `cut-${aio}-${mode}.img`);
    writeFileSync(filename, new Uint8Array(SIZE).fill(7));
    await using runtime = new IOThreadRuntime();
    const { queue } = await startGuest(runtime, { driver: 'file', filename, ...options }, mode);
    const statusOf = async (block: number): Promise<number> =>
      (await queue.request(VIRTIO_BLK_T_IN, block * 8, BLOCK)).status;
    truncateSync(filename, SIZE / 4 + 512);
    expect([await statusOf(0), await statusOf(63), await statusOf(200)]).toEqual([0, 0, VIRTIO_BLK_S_IOERR]);
    // A part of it is there.
    expect(await statusOf(64)).toBe(VIRTIO_BLK_S_IOERR);
    // Writes make it long again, as far as they reach.
    await queue.write(100 * 8, contentOf(100));
    await queue.flush();
    expect(statSync(filename).size).toBe(101 * BLOCK);
    expect(await queue.read(100 * 8, BLOCK)).toEqual(contentOf(100));
    truncateSync(filename, 0);
    expect(await statusOf(0)).toBe(VIRTIO_BLK_S_IOERR);
    truncateSync(filename, SIZE);
    expect(await queue.read(200 * 8, BLOCK)).toEqual(new Uint8Array(BLOCK));
  });

  test('that is removed, or replaced by another: it stays the guest’s disk, and the other one is not touched', async () => {
    const filename = join(directory, `replaced-${aio}-${mode}.img`);
    writeFileSync(filename, new Uint8Array(SIZE));
    await using runtime = new IOThreadRuntime();
    const { queue } = await startGuest(runtime, { driver: 'file', filename, ...options }, mode);
    await queue.write(8, contentOf(1));
    writeFileSync(`${filename}.new`, new Uint8Array(SIZE).fill(9));
    renameSync(`${filename}.new`, filename);
    await queue.write(16, contentOf(2));
    await queue.flush();
    expect(await queue.read(8, BLOCK)).toEqual(contentOf(1));
    expect(new Set(readFileSync(filename))).toEqual(new Set([9]));
    rmSync(filename);
    await queue.write(24, contentOf(3));
    await queue.flush();
    expect(await queue.read(24, BLOCK)).toEqual(contentOf(3));
    // A disk that is opened anew finds it gone.
    await expect(
      runtime.addDevice({
        id: 'vdb',
        iothread: 'io0',
        drive: { driver: 'file', filename },
        memory: createMemory(),
      }),
    ).rejects.toMatchObject({ code: 'ENOENT' });
    await queue.read(16, BLOCK);
  });
});
