// A disk written in TypeScript under a guest's file system.
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { scramble } from './fixtures/scrambled-disk.mjs';
import { createImage, faultsOf, readFileInImage, sha256 } from './support/image.js';
import { describeGuests, type Scene } from './support/scene.js';

const SIZE_BYTES = 32 << 20;

/** Compiles the disk, as Node.js 20 needs it. @returns the module's path */
function compileDisk(scene: Scene): string {
  const compiler = fileURLToPath(new URL('../../node_modules/typescript/bin/tsc', import.meta.url));
  const source = fileURLToPath(new URL('fixtures/scrambled-disk.mts', import.meta.url));
  const options = [
    '--target',
    'es2023',
    '--module',
    'nodenext',
    '--types',
    'node',
    '--skipLibCheck',
    '--strict',
    '--ignoreConfig',
  ];
  execFileSync(process.execPath, [compiler, ...options, '--outDir', scene.directory, source], {
    stdio: 'inherit',
  });
  return scene.path('scrambled-disk.mjs');
}

describeGuests('a disk in TypeScript', (scene) => {
  test('keeps a file system, in its own way', async () => {
    const filename = createImage(scene().path('scrambled.img'), SIZE_BYTES);
    const node = { driver: 'module', url: compileDisk(scene()), options: { filename } };
    const served = {
      iothreads: ['iothread0'],
      disks: [{ id: 'vda', node, export: 'writable=on,iothread=iothread0' }],
    };
    const disks = [{ socket: scene().socket('vda') }];
    let daemon = await scene().serve(served);
    try {
      const made = await scene().boot({
        disks,
        script: `
          result sectors $(disk vda size)
          result discards $(disk vda queue/discard_max_bytes)
          mkfs.ext4 -q /dev/vda
          mount -t ext4 /dev/vda /mnt
          head -c 3000000 /dev/urandom >/mnt/file
          result written $(sum /mnt/file)
          umount /mnt
        `,
      });
      await daemon.stop();
      expect(made.number('sectors')).toBe(SIZE_BYTES / 512);
      // It has no `trim`.
      expect(made.number('discards')).toBe(0);
      const plain = scene().path('plain.img');
      writeFileSync(plain, scramble(readFileSync(filename)));
      expect(faultsOf(plain)).toBe('');
      expect(sha256(readFileInImage(plain, '/file'))).toBe(made.get('written'));

      daemon = await scene().serve(served);
      const again = await scene().boot({
        disks,
        script: `
          mount -t ext4 /dev/vda /mnt
          result read $(sum /mnt/file)
          umount /mnt
        `,
      });
      await daemon.stop();
      expect(again.get('read')).toBe(made.get('written'));
    } finally {
      await daemon.kill();
    }
  });
});
