// Many disks of one guest, on shared iothreads and on iothreads of their own, with a queue for each of its processors.
import { expect, test } from 'vitest';
import { createImage, readImage, sha256 } from './support/image.js';
import { describeGuests } from './support/scene.js';

const SIZE_BYTES = 16 << 20;
const WRITTEN_BYTES = 1 << 20;
const QUEUES = 2;

/** The iothreads of each disk: two disks share one, two have one each, the queues of the last are dealt out to two. */
const IOTHREADS: Readonly<Record<string, string>> = {
  vda: 'iothread=iothread0',
  vdb: 'iothread=iothread0',
  vdc: 'iothread=iothread1',
  vdd: 'iothread=iothread2',
  vde: 'iothread.0=iothread1,iothread.1=iothread2',
};
const DISKS = Object.keys(IOTHREADS);

/** Every processor writes every disk at once, each its own half; then they are read again. */
const SCRIPT = `
  write() {
    yes "$1 from processor $2" | head -c ${WRITTEN_BYTES} |
      taskset -c $2 dd of=/dev/$1 bs=64k seek=$(($2 * ${WRITTEN_BYTES / 65536})) iflag=fullblock oflag=direct
  }
  for disk in ${DISKS.join(' ')}; do
    result $disk-queues $(ls /sys/block/$disk/mq | wc -l)
    for processor in 0 1; do write $disk $processor & done
  done
  wait
  for disk in ${DISKS.join(' ')}; do
    sync -d /dev/$disk
    result $disk-sum $(dd if=/dev/$disk bs=64k count=${(QUEUES * WRITTEN_BYTES) / 65536} iflag=direct | sum)
  done
  # Interrupts of each queue, over all processors: virtio2-req.1.
  awk '/virtio[0-9]+-req/ { n = $2 + $3; print "RESULT " $NF " " n }' /proc/interrupts >&3
`;

describeGuests('a guest with many disks', (scene) => {
  test('finds on each what it wrote there', async () => {
    const disks = DISKS.map((id) => {
      const filename = createImage(scene().path(`${id}.img`), SIZE_BYTES);
      const node = { driver: 'file', filename };
      return { id, node, export: `writable=on,num-queues=${QUEUES},${IOTHREADS[id]}` };
    });
    await using daemon = await scene().serve({ iothreads: ['iothread0', 'iothread1', 'iothread2'], disks });
    const results = await scene().boot({
      disks: DISKS.map((id) => ({ socket: scene().socket(id), queues: QUEUES })),
      vcpus: QUEUES,
      script: SCRIPT,
    });
    await daemon.stop();
    DISKS.forEach((id, index) => {
      expect(results.number(`${id}-queues`), id).toBe(QUEUES);
      const halves = [0, 1].map((processor) =>
        Buffer.alloc(WRITTEN_BYTES, `${id} from processor ${processor}\n`),
      );
      const wanted = sha256(Buffer.concat(halves));
      expect(results.get(`${id}-sum`), id).toBe(wanted);
      expect(sha256(readImage(scene().path(`${id}.img`), 0, QUEUES * WRITTEN_BYTES)), id).toBe(wanted);
      for (let queue = 0; queue < QUEUES; queue++) {
        expect(results.number(`virtio${index}-req.${queue}`), id).toBeGreaterThan(0);
      }
    });
  });

  test('is told so where it wants more queues than there are', async () => {
    const few = { id: 'few', node: { driver: 'null-co', size: 1 << 20 }, export: 'num-queues=1' };
    await using daemon = await scene().serve({ iothreads: [], disks: [few] });
    const boot = scene().boot({ disks: [{ socket: scene().socket('few'), queues: 4 }], script: '' });
    await expect(boot).rejects.toThrow(/QEMU left with status 1.*maximum number of queues.*is 1/s);
    await daemon.stop();
  });
});
