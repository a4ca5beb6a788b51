// The daemon is killed under a running guest, again and again: the guest waits a moment and misses nothing.
import { expect, test } from 'vitest';
import type { Served } from './support/daemon.js';
import { fioJob } from './support/fio-job.js';
import { buildProgramDisk } from './support/guest-kit.js';
import { createImage } from './support/image.js';
import { describeGuests } from './support/scene.js';

const KILLS = 10;
const QUEUES = 2;
/** Long enough for requests to be in flight whenever the daemon is killed. */
const WRITE_NS = 20_000_000;
const JOB = fioJob({
  rw: 'randwrite',
  bsrange: '4k-32k',
  jobs: QUEUES,
  sizeBytes: 4 << 20,
  more: 'randrepeat=0',
});

/** fio verifies every block that it has written, over and over, until the daemon has been killed often enough. */
const SCRIPT = `
  mount -t ext4 -o ro /dev/vda /mnt
  # The programs' own disk goes away as well: they are in the page cache by then.
  cp -r /mnt/bin /mnt/lib /mnt/usr /tmp/
  umount /mnt
  export LD_LIBRARY_PATH=/tmp/lib/x86_64-linux-gnu:/tmp/usr/lib/x86_64-linux-gnu:/tmp/usr/lib/x86_64-linux-gnu/ceph
  cat >/tmp/job <<END
${JOB}
END
  {
    while [ ! -e /tmp/enough ]; do
      /tmp/bin/fio --output=/tmp/report /tmp/job || { cat /tmp/report; touch /tmp/failed /tmp/enough; }
      echo done >>/tmp/passes
    done
  } &
  set +x
  for kill in $(seq ${KILLS}); do
    while [ "$(disk vdb inflight | awk '{ print $1 + $2 }')" -lt 8 ]; do [ ! -e /tmp/failed ]; done
    ask kill
    # It goes on: more is completed than when it was killed.
    before=$(disk vdb stat | awk '{ print $5 }')
    while [ "$(disk vdb stat | awk '{ print $5 }')" = "$before" ]; do [ ! -e /tmp/failed ]; done
  done
  touch /tmp/enough
  wait
  [ ! -e /tmp/failed ]
  result passes $(wc -l </tmp/passes)
  result errors $(dmesg | grep -c 'I/O error' || true)
`;

describeGuests('a guest whose daemon is killed', (scene) => {
  test(`finds every block as it wrote it, after ${KILLS} kills, without an I/O error`, async () => {
    const programs = scene().path('programs.img');
    buildProgramDisk(['fio'], programs);
    const served: Served = {
      iothreads: ['iothread0'],
      disks: [
        {
          id: 'vda',
          node: { driver: 'file', filename: programs, 'read-only': true },
          export: 'iothread=iothread0',
        },
        {
          id: 'vdb',
          // Quick disks have done everything by the time that a guest without hardware support has noticed what it asked for.
          node: {
            driver: 'blkdebug',
            image: { driver: 'file', filename: createImage(scene().path('disk.img'), 64 << 20) },
            'inject-error': [{ iotype: 'write', 'delay-ns': WRITE_NS }],
          },
          export: `writable=on,num-queues=${QUEUES},iothread=iothread0`,
        },
      ],
    };
    let daemon = await scene().serve(served);
    let kills = 0;
    try {
      const results = await scene().boot({
        disks: [
          { socket: scene().socket('vda'), reconnects: true },
          { socket: scene().socket('vdb'), queues: QUEUES, reconnects: true },
        ],
        vcpus: QUEUES,
        script: SCRIPT,
        deadlineMs: 90_000,
        answers: {
          kill: async () => {
            await daemon.kill();
            kills++;
            daemon = await scene().serve(served);
          },
        },
      });
      await daemon.stop();
      expect(kills).toBe(KILLS);
      expect(results.number('errors')).toBe(0);
      expect(results.number('passes')).toBeGreaterThan(0);
    } finally {
      await daemon.kill();
    }
  });
});
