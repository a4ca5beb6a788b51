import { saveSnapshot } from '@iothreads/v86';
import { execFile } from 'node:child_process';
import { copyFileSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { createImage, faultsOf, readFileInImage, readImage } from '../../guests/support/image.js';
import { totals } from '../../support/statistics.js';
import { until } from '../../support/within.js';
import type { Scene } from '../support/scene.js';

const DISK_BYTES = 8 << 20;
/** What the guest writes: so many numbers to one sector, so many files and lines. */
const NUMBERS = 24;
const FILES = 12;
/** Numbers that are there when the snapshot is asked for: some have been written, most have not. */
const WRITTEN = 4;
const RESTORED = fileURLToPath(new URL('../fixtures/restored-machine.mjs', import.meta.url));

/** Two tasks write, are saved in the middle, and go on. What they have written is looked at in the end, and by the one as it goes. */
const SCRIPT = `
  dd if=/dev/urandom of=/tmp/data bs=64k count=1
  mount -t ext4 /dev/vda /mnt
  count() {
    for n in $(seq ${NUMBERS}); do
      printf '%-511s\\n' $n >/tmp/sector
      dd if=/tmp/sector of=/dev/vdb bs=512 count=1 oflag=direct
      [ "$(dd if=/dev/vdb bs=512 count=1 iflag=direct | tr -d ' ')" = $n ]
    done 2>/dev/null
  }
  copy() {
    for n in $(seq ${FILES}); do
      echo $n >>/mnt/log
      dd if=/tmp/data of=/mnt/$n bs=16k conv=fsync
    done 2>/dev/null
  }
  count & counter=$!
  copy & copier=$!
  ask snapshot
  # Both are still at it.
  kill -0 $counter
  kill -0 $copier
  wait $counter
  wait $copier
  forget
  for n in $(seq ${FILES}); do cmp /mnt/$n /tmp/data; done
  umount /mnt
  result done yes
`;

/** What is on the disks when the script has come to its end. */
function expectWritten(files: string, numbers: string): void {
  expect(faultsOf(files)).toBe('');
  const lines = Array.from({ length: FILES }, (_, i) => `${i + 1}\n`);
  expect(readFileInImage(files, '/log').toString()).toBe(lines.join(''));
  expect(readImage(numbers, 0, 512).toString().trimEnd()).toBe(String(NUMBERS));
}

export function snapshots(scene: () => Scene): void {
  test('taken in the middle of writing goes on in another process, and where it was taken', async () => {
    const images = {
      vda: scene().ext4('files.img', DISK_BYTES),
      vdb: createImage(scene().path('numbers.img'), DISK_BYTES),
    };
    const directory = scene().path('snapshot');
    mkdirSync(directory);
    await using machine = await scene().machine({
      disks: [
        { id: 'vda', drive: { driver: 'file', filename: images.vda }, completion: 'pull' },
        { id: 'vdb', drive: { driver: 'file', filename: images.vdb }, completion: 'wake' },
      ],
      answers: {
        snapshot: async () => {
          const { operations } = await totals(machine.runtime, 'vdb');
          await until('numbers', async () => {
            return (await totals(machine.runtime, 'vdb')).operations >= operations + 2 * WRITTEN;
          });
          const { machine: state, disks } = await saveSnapshot(machine.guest.machine, async () => {
            for (const [id, image] of Object.entries(images)) copyFileSync(image, join(directory, id));
          });
          writeFileSync(join(directory, 'machine'), new Uint8Array(state));
          writeFileSync(join(directory, 'disks.json'), JSON.stringify(disks));
        },
      },
    });
    const told = await machine.guest.run(SCRIPT);
    expect(told.text('done')).toBe('yes');
    expectWritten(images.vda, images.vdb);
    expect(machine.errors).toEqual([]);

    const numbers = join(directory, 'vdb');
    expect(Number(readImage(numbers, 0, 512).toString())).toBeLessThan(NUMBERS);
    const { stdout } = await promisify(execFile)(process.execPath, [RESTORED, directory]);
    expect(JSON.parse(stdout)).toEqual({ told: { done: 'yes', exit: '0' }, inFlight: [0, 0], errors: [] });
    expectWritten(join(directory, 'vda'), numbers);
  });
}
