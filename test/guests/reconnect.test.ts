// The daemon goes away under a running guest, politely and not, and comes back: the guest waits and misses nothing.
import { rmSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { createImage, readImage, sha256 } from './support/image.js';
import { describeGuests } from './support/scene.js';

const SIZE_BYTES = 32 << 20;
const PARTS = 4;
const PART_BYTES = 1 << 20;
const REQUEST_BYTES = 64 << 10;
const REQUESTS = PART_BYTES / REQUEST_BYTES;

/**
 * At first the daemon keeps the first request and completes all behind it, so a successor that looks at the ring alone
 * can't know which one is missing. Later four writers keep the disk busy while the daemon is stopped.
 */
const SCRIPT = `
  write() {
    yes "$2 wrote part $1" | head -c ${PART_BYTES} >/tmp/$1
    dd if=/tmp/$1 of=/dev/vda bs=${REQUEST_BYTES} seek=$(($1 * ${REQUESTS})) oflag=direct
  }
  content() { dd if=/dev/vda bs=${REQUEST_BYTES} count=${PARTS * REQUESTS} iflag=direct | sum; }
  set +x
  write 0 killed &
  held=$!
  while [ "$(disk vda inflight | awk '{ print $2 }')" != 1 ]; do usleep 10000; done
  for part in 1 2 3; do write $part killed; done
  result held "$(disk vda inflight | awk '{ print $2 }')"
  ask killed
  wait $held
  result killed $(content)

  for part in 0 1 2 3; do
    while [ ! -e /tmp/enough ]; do write $part stopped || touch /tmp/failed; done &
  done
  while [ "$(disk vda inflight | awk '{ print $2 }')" = 0 ]; do :; done
  ask stopped
  touch /tmp/enough
  wait
  [ ! -e /tmp/failed ]
  result stopped $(content)
`;

/** What the writers leave behind. */
function contentOf(when: string): Buffer {
  const part = (index: number): Buffer => Buffer.alloc(PART_BYTES, `${when} wrote part ${index}\n`);
  return Buffer.concat(Array.from({ length: PARTS }, (_, index) => part(index)));
}

describeGuests('a guest whose daemon leaves', (scene) => {
  test('goes on when it is back', async () => {
    const filename = createImage(scene().path('disk.img'), SIZE_BYTES);
    const hold = scene().path('hold');
    writeFileSync(hold, '');
    const url = fileURLToPath(new URL('fixtures/holding-disk.mjs', import.meta.url));
    const node = { driver: 'module', url, options: { filename, hold } };
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
            rmSync(hold);
            daemon = await scene().serve(served);
          },
          stopped: async () => {
            await daemon.stop();
            daemon = await scene().serve(served);
          },
        },
      });
      await daemon.stop();
      expect(results.get('held')).toBe('1');
      expect(results.get('killed')).toBe(sha256(contentOf('killed')));
      expect(results.get('stopped')).toBe(sha256(contentOf('stopped')));
      expect(sha256(readImage(filename, 0, PARTS * PART_BYTES))).toBe(results.get('stopped'));
    } finally {
      await daemon.kill();
    }
  });
});
