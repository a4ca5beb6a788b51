// The daemon goes away under a running guest and comes back: the guest waits and misses nothing.
import { VhostUserFrontEnd } from '@iothreads/vhost-user/front-end';
import { expect, test } from 'vitest';
import { fixture } from '../support/fixture.js';
import { within } from '../support/within.js';
import type { Served } from './support/daemon.js';
import { createImage, readImage, sha256 } from './support/image.js';
import type { GuestMachine } from './support/qemu-arguments.js';
import { describeGuests } from './support/scene.js';

const SIZE_BYTES = 32 << 20;
const PARTS = 4;
const PART_BYTES = 1 << 20;
const REQUEST_BYTES = 64 << 10;
const REQUESTS = PART_BYTES / REQUEST_BYTES;
const DEATHS = 5;

const WORDS = `
  write() {
    yes "written to part $1" | head -c ${PART_BYTES} >/tmp/$1
    dd if=/tmp/$1 of=/dev/vda bs=${REQUEST_BYTES} seek=$(($1 * ${REQUESTS})) oflag=direct
  }
  writes_in_flight() { disk vda inflight | awk '{ print $2 }'; }
  content() { dd if=/dev/vda bs=${REQUEST_BYTES} count=${PARTS * REQUESTS} iflag=direct | sum; }
  set +x
`;

/** Four writers keep the disk busy meanwhile. @param times that something happens to it, with writes in flight */
const busyDisk = (event: string, times: number): string => `${WORDS}
  for part in 0 1 2 3; do
    while [ ! -e /tmp/enough ]; do write $part || touch /tmp/failed; done &
  done
  for time in $(seq ${times}); do
    while [ "$(writes_in_flight)" = 0 ]; do :; done
    ask ${event}
  done
  touch /tmp/enough
  wait
  [ ! -e /tmp/failed ]
  result content $(content)
`;

/** What the writers leave behind. */
const CONTENT = sha256(
  Buffer.concat(
    Array.from({ length: PARTS }, (_, part) => Buffer.alloc(PART_BYTES, `written to part ${part}\n`)),
  ),
);

describeGuests('a guest whose daemon leaves', (scene) => {
  const servedDisk = (filename: string): Served => ({
    iothreads: ['iothread0'],
    disks: [{ id: 'vda', node: { driver: 'file', filename }, export: 'writable=on,iothread=iothread0' }],
  });

  const disks = (): GuestMachine['disks'] => [{ socket: scene().socket('vda'), reconnects: true }];

  test('waits for one that was stopped', async () => {
    const image = createImage(scene().path('stopped.img'), SIZE_BYTES);
    let daemon = await scene().serve(servedDisk(image));
    try {
      const results = await scene().boot({
        disks: disks(),
        script: busyDisk('stopped', 1),
        answers: {
          stopped: async () => {
            await daemon.stop();
            daemon = await scene().serve(servedDisk(image));
          },
        },
      });
      await daemon.stop();
      expect(results.get('content')).toBe(CONTENT);
      expect(sha256(readImage(image, 0, PARTS * PART_BYTES))).toBe(CONTENT);
    } finally {
      await daemon.kill();
    }
  });

  test('waits for an iothread that died: the daemon lives', async () => {
    const image = createImage(scene().path('died.img'), SIZE_BYTES);
    const served = servedDisk(image);
    const options = { size: 1 << 20, how: 'exit', after: 1 };
    const daemon = await scene().serve({
      ...served,
      disks: [
        ...served.disks,
        {
          id: 'mortal',
          node: { driver: 'module', url: fixture('dying-disk.mjs'), options },
          export: 'iothread=iothread0',
        },
      ],
    });
    try {
      const results = await scene().boot({
        disks: disks(),
        script: busyDisk('died', DEATHS),
        answers: {
          died: async () => {
            const killer = await VhostUserFrontEnd.connect(scene().socket('mortal'));
            void killer.queues[0]!.read(0, 512);
            await within(killer.requests.receive(), 'the death of the iothread');
            await killer.close();
          },
        },
      });
      expect(results.get('content')).toBe(CONTENT);
      expect(daemon.log.match(/iothread 'iothread0' has been started again/g)).toHaveLength(DEATHS);
      await daemon.stop();
      expect(sha256(readImage(image, 0, PARTS * PART_BYTES))).toBe(CONTENT);
    } finally {
      await daemon.kill();
    }
  });
});
