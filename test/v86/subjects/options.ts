import { expect, test } from 'vitest';
import { createImage, faultsOf, readFileInImage, readImage, sha256 } from '../../guests/support/image.js';
import { blockStats, totals } from '../../support/statistics.js';
import type { Scene } from '../support/scene.js';

const DISK_BYTES = 8 << 20;

export function options(scene: () => Scene): void {
  test.each([
    { completion: 'pull', slotBytes: 4096, segments: 1 },
    { completion: 'wake', slotBytes: 16384, segments: 4 },
  ] as const)(
    'two slots of $slotBytes bytes, completions by $completion, under load',
    async ({ completion, slotBytes, segments }) => {
      const filename = scene().ext4(`${completion}.img`, DISK_BYTES);
      const drive = { driver: 'file', filename } as const;
      let most = 0;
      await using machine = await scene().machine({
        disks: [{ id: 'vda', drive, completion, slots: 2, slotBytes }],
        answers: {
          look: () => {
            most = Math.max(most, machine.disk('vda').inFlight);
          },
        },
      });
      const told = await machine.guest.run(`
        result segments $(disk vda queue/max_segments)
        result segment-size $(disk vda queue/max_segment_size)
        mount -t ext4 /dev/vda /mnt
        dd if=/dev/urandom of=/tmp/data bs=64k count=4
        for n in 1 2 3; do dd if=/tmp/data of=/mnt/$n bs=64k conv=fsync & done
        for n in 1 2; do dd if=/dev/vda of=/dev/null bs=64k skip=$n count=4 iflag=direct & done
        for turn in $(seq 10); do ask look; done
        wait
        forget
        result written $(sum /tmp/data)
        result read "$(sum /mnt/1 /mnt/2 /mnt/3 | uniq)"
        umount /mnt
      `);
      expect(told.number('segments')).toBe(segments);
      expect(told.number('segment-size')).toBe(4096);
      expect(told.text('read')).toBe(told.text('written'));
      expect(most).toBeLessThanOrEqual(2);
      expect(machine.disk('vda').inFlight).toBe(0);
      expect(faultsOf(filename)).toBe('');
      expect(sha256(readFileInImage(filename, '/3'))).toBe(told.text('written'));
      expect(await blockStats(machine.runtime, 'vda')).toMatchObject({ invalid: 0, driverMistakes: 0 });
      expect(machine.errors).toEqual([]);
    },
  );

  test('two queues, of which a machine with one processor uses the first', async () => {
    const filename = createImage(scene().path('queues.img'), DISK_BYTES);
    await using machine = await scene().machine({
      disks: [{ id: 'vda', drive: { driver: 'file', filename }, completion: 'pull', numQueues: 2 }],
    });
    // Of the features, as a row of bits, VIRTIO_BLK_F_MQ is number 12.
    const told = await machine.guest.run(`
      result mq $(cut -c 13 /sys/block/vda/device/features)
      result queues "$(ls /sys/block/vda/mq | xargs)"
      dd if=/dev/urandom of=/tmp/data bs=64k count=8
      dd if=/tmp/data of=/dev/vda bs=64k oflag=direct
      result written $(sum /tmp/data)
    `);
    expect(told.number('mq')).toBe(1);
    expect(told.text('queues')).toBe('0');
    expect(sha256(readImage(filename, 0, 8 << 16))).toBe(told.text('written'));
    expect(machine.errors).toEqual([]);
  });

  test('another size, which the guest hears of and uses', async () => {
    const filename = createImage(scene().path('growing.img'), DISK_BYTES);
    await using machine = await scene().machine({
      disks: [{ id: 'vda', drive: { driver: 'file', filename }, completion: 'pull' }],
      answers: {
        grow: () => machine.disk('vda').resize(2 * DISK_BYTES),
        shrink: () => machine.disk('vda').resize(DISK_BYTES),
      },
    });
    const told = await machine.guest.run(`
      becomes() { until [ $(disk vda size) = $1 ]; do sleep 0.05; done; }
      at_end() { dd bs=4k $1=$((2 * ${DISK_BYTES} / 4096 - 1)) count=1 $2; }
      dd if=/dev/urandom of=/tmp/data bs=4k count=1
      result written $(sum /tmp/data)
      ask grow
      becomes ${(2 * DISK_BYTES) / 512}
      at_end seek "if=/tmp/data of=/dev/vda oflag=direct"
      at_end skip "if=/dev/vda of=/tmp/after iflag=direct"
      result read $(sum /tmp/after)
      result beyond "$(dd if=/dev/vda bs=4k skip=$((2 * ${DISK_BYTES} / 4096)) count=1 2>/dev/null | wc -c)"
      ask shrink
      becomes ${DISK_BYTES / 512}
    `);
    expect(told.text('read')).toBe(told.text('written'));
    expect(told.number('beyond')).toBe(0);
    expect(await totals(machine.runtime, 'vda')).toMatchObject({ errors: 0 });
    expect(machine.errors).toEqual([]);
  });
}
