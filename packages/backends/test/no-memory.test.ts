// Memory that a request would have to go through can't be had: the request fails, and nothing else does.
import { BlockOperation, VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK } from '@iothreads/core';
import type { BlockDriverError } from '@iothreads/backends';
import { afterEach, expect, test } from 'vitest';
import { fileCases, image, openVariant } from './file-variants.js';
import { driverErrors, expectBytes, pattern } from './support.js';

const cases = fileCases.filter(({ variant }) => variant.options.cacheDirect === true);
const OriginalArrayBuffer = globalThis.ArrayBuffer;

function runOutOfMemory(): void {
  globalThis.ArrayBuffer = new Proxy(OriginalArrayBuffer, {
    construct(target, args: [number]) {
      if (args[0] >= 4096) throw new RangeError('Array buffer allocation failed');
      return Reflect.construct(target, args);
    },
  });
}

function haveMemory(): void {
  globalThis.ArrayBuffer = OriginalArrayBuffer;
}

afterEach(haveMemory);

// Some of it is kept for the next request once it has been had: each case asks for another size.
test.runIf(process.platform === 'linux').each(cases.map((each, index) => ({ ...each, index })))(
  '$title',
  async ({ variant, mode, index }) => {
    // What is done at once goes through one piece for the whole thread: the first case alone finds none.
    const finds = mode === 'sync' && index > 0 ? VIRTIO_BLK_S_OK : VIRTIO_BLK_S_IOERR;
    const byteLength = 4096 << index;
    const contents = pattern(1 << 20);
    const disk = await openVariant(variant, image(contents));
    const errors = driverErrors();
    const read = () => disk.owner.transfer(BlockOperation.READ, 512, [[1, byteLength]]);
    runOutOfMemory();
    for (let i = 0; i < 20; i++) {
      const request = read();
      expect(await disk.run(mode, request)).toBe(finds);
      if (finds === VIRTIO_BLK_S_IOERR) expect(request.errorCode).toBe('ENOMEM');
    }
    haveMemory();
    if (finds === VIRTIO_BLK_S_IOERR) {
      expect((errors[0]!.error as BlockDriverError).message).toContain('no memory for');
      expect(errors).toHaveLength(20);
    }
    for (let i = 0; i < 20; i++) expect(await disk.run(mode, read())).toBe(VIRTIO_BLK_S_OK);
    await disk.runBatch(Array.from({ length: 64 }, read));
    expectBytes(disk.memory.read(1, byteLength), contents.subarray(512, 512 + byteLength));
    await disk.driver.close();
  },
);
