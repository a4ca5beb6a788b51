// The daemon goes away under a running guest, politely and not, and comes back: the guest waits and misses nothing.
import { expect, test } from 'vitest';
import { createImage, readImage, sha256 } from './support/image.js';
import { describeGuests } from './support/scene.js';

const SIZE_BYTES = 32 << 20;
const WRITTEN_BYTES = 16 << 20;

/** Four writers keep the disk busy until the daemon has come back twice; then everything is written once more and read. */
const SCRIPT = `
  part=${WRITTEN_BYTES / 4 / 65536}
  write() { yes "$2 wrote part $1" | head -c ${WRITTEN_BYTES / 4} | dd of=/dev/vda bs=64k seek=$(($1 * part)) iflag=fullblock oflag=direct; }
  set +x
  for i in 0 1 2 3; do
    { while [ ! -e /tmp/enough ]; do write $i before 2>/dev/null || touch /tmp/failed; done; } &
  done
  ask killed
  ask stopped
  touch /tmp/enough
  wait
  set -x
  [ ! -e /tmp/failed ]
  result before $(dd if=/dev/vda bs=64k count=$((part * 4)) iflag=direct | sum)
  for i in 0 1 2 3; do write $i after; done
  sync -d /dev/vda
  result after $(dd if=/dev/vda bs=64k count=$((part * 4)) iflag=direct | sum)
`;

/** What the writers leave behind. */
function contentOf(when: string): Buffer {
  return Buffer.concat(
    [0, 1, 2, 3].map((part) => Buffer.alloc(WRITTEN_BYTES / 4, `${when} wrote part ${part}\n`)),
  );
}

describeGuests('a guest whose daemon leaves', (scene) => {
  test('goes on when it is back', async () => {
    const image = createImage(scene().path('disk.img'), SIZE_BYTES);
    const node = { driver: 'file', filename: image };
    const served = {
      iothreads: ['iothread0'],
      disks: [{ id: 'vda', node, export: 'writable=on,iothread=iothread0' }],
    };
    let daemon = await scene().serve(served);
    try {
      const results = await scene().boot({
        disks: [{ socket: scene().socket('vda'), reconnects: true }],
        script: SCRIPT,
        answers: {
          killed: async () => {
            await daemon.kill();
            daemon = await scene().serve(served);
          },
          stopped: async () => {
            await daemon.stop();
            daemon = await scene().serve(served);
          },
        },
      });
      await daemon.stop();
      expect(results.get('before')).toBe(sha256(contentOf('before')));
      expect(results.get('after')).toBe(sha256(contentOf('after')));
      expect(sha256(readImage(image, 0, WRITTEN_BYTES))).toBe(results.get('after'));
    } finally {
      await daemon.kill();
    }
  });
});
