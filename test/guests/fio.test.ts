// fio in a guest: it writes and reads in disorder, many requests at a time from both processors, and verifies every block.
import { expect, test } from 'vitest';
import { fioJob } from './support/fio-job.js';
import { buildProgramDisk } from './support/guest-kit.js';
import { createImage } from './support/image.js';
import { describeGuests } from './support/scene.js';

const QUEUES = 2;
/** What each job works on. */
const SIZE_BYTES = 8 << 20;
const JOB = fioJob({ rw: 'randrw', bsrange: '4k-64k', jobs: QUEUES, sizeBytes: SIZE_BYTES });

/** fio comes with libraries too large for an initramfs: they are on a read-only disk of ours. */
const SCRIPT = `
  mount -t ext4 -o ro /dev/vda /mnt
  export LD_LIBRARY_PATH=/mnt/lib/x86_64-linux-gnu:/mnt/usr/lib/x86_64-linux-gnu:/mnt/usr/lib/x86_64-linux-gnu/ceph
  cat >/tmp/job <<END
${JOB}
END
  /mnt/bin/fio --output-format=json --output=/tmp/report /tmp/job
  result report "$(tr -d '\\n ' </tmp/report)"
`;

/** What is looked at in fio's report. */
interface Report {
  readonly jobs: readonly { readonly error: number; readonly write: { readonly io_bytes: number } }[];
}

describeGuests('fio', (scene) => {
  test('finds every block as it wrote it', async () => {
    const programs = scene().path('programs.img');
    buildProgramDisk(['fio'], programs);
    const image = createImage(scene().path('disk.img'), 64 << 20);
    await using daemon = await scene().serve({
      iothreads: ['iothread0'],
      disks: [
        {
          id: 'vda',
          node: { driver: 'file', filename: programs, 'read-only': true },
          export: 'iothread=iothread0',
        },
        {
          id: 'vdb',
          node: { driver: 'file', filename: image },
          export: `writable=on,num-queues=${QUEUES},iothread=iothread0`,
        },
      ],
    });
    const results = await scene().boot({
      disks: [{ socket: scene().socket('vda') }, { socket: scene().socket('vdb'), queues: QUEUES }],
      vcpus: QUEUES,
      script: SCRIPT,
    });
    await daemon.stop();
    // fio warns in front of it that several jobs write to one file: each to a part of its own.
    const report = results.get('report').replace(/^[^{]*/, '');
    const { jobs } = JSON.parse(report) as Report;
    expect(jobs).toHaveLength(QUEUES);
    for (const { error, write } of jobs) {
      expect(error).toBe(0);
      expect(write.io_bytes).toBeGreaterThan(SIZE_BYTES / 4);
    }
  });
});
