// A file system that a guest makes on our disk: what it says it wrote is what the host finds, and what it finds again.
import { expect, test } from 'vitest';
import { createImage, faultsOf, readFileInImage, replayJournal, sha256 } from './support/image.js';
import { describeGuests } from './support/scene.js';

const SIZE_BYTES = 128 << 20;

describeGuests('a file system', (scene) => {
  test('survives the guest, the daemon and a power cut', async () => {
    const image = createImage(scene().path('disk.img'), SIZE_BYTES);
    const node = { driver: 'file', filename: image };
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
          result serial $(disk vda serial)
          result cache "$(disk vda queue/write_cache)"
          result readonly $(disk vda ro)
          result discards $(disk vda queue/discard_max_bytes)
          result zeroes $(disk vda queue/write_zeroes_max_bytes)
          mkfs.ext4 -q /dev/vda
          mount -t ext4 /dev/vda /mnt
          head -c 6000000 /dev/urandom >/mnt/large
          for i in $(seq 100); do echo "file $i" >/mnt/small$i; done
          result written $(sum /mnt/large)
          forget
          result read $(sum /mnt/large)
          result small $(cat /mnt/small* | sum)
          umount /mnt
        `,
      });
      await daemon.stop();
      expect(made.number('sectors')).toBe(SIZE_BYTES / 512);
      expect(made.get('serial')).toBe('vda');
      expect(made.get('cache')).toBe('write back');
      expect(made.get('readonly')).toBe('0');
      expect(made.number('discards')).toBeGreaterThan(0);
      expect(made.number('zeroes')).toBeGreaterThan(0);
      expect(made.get('read')).toBe(made.get('written'));
      expect(faultsOf(image)).toBe('');
      expect(sha256(readFileInImage(image, '/large'))).toBe(made.get('written'));

      daemon = await scene().serve(served);
      const again = await scene().boot({
        disks,
        script: `
          mount -t ext4 /dev/vda /mnt
          result large $(sum /mnt/large)
          result small $(cat /mnt/small* | sum)
          head -c 3000000 /dev/urandom | dd bs=64k of=/mnt/synced conv=fsync
          result synced $(sum /mnt/synced)
          ask cut
        `,
        answers: {
          cut: async (guest) => {
            guest.cut();
          },
        },
      });
      await daemon.stop();
      expect(again.get('large')).toBe(made.get('written'));
      expect(again.get('small')).toBe(made.get('small'));
      replayJournal(image);
      expect(faultsOf(image)).toBe('');
      expect(sha256(readFileInImage(image, '/large'))).toBe(made.get('written'));
      expect(sha256(readFileInImage(image, '/synced'))).toBe(again.get('synced'));
    } finally {
      await daemon.kill();
    }
  });
});
