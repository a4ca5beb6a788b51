// What a disk can do besides reading and writing, as a guest's kernel sees it: four disks, one boot.
import { beforeAll, expect, test } from 'vitest';
import { monitorOf } from './support/daemon.js';
import type { GuestResults } from './support/guest.js';
import { allocatedBytes, createImage, readImage, sha256 } from './support/image.js';
import { Qmp } from './support/qmp.js';
import { describeGuests, TIMEOUT_MS } from './support/scene.js';

const MIB = 1 << 20;
const SIZE_BYTES = 32 * MIB;
const RESIZED_BYTES = 48 * MIB;
/** What is cut out of the disks that are full of data. */
const CUT = { offset: 4 * MIB, length: 8 * MIB };

const SCRIPT = `
  result discard_max $(disk vda queue/discard_max_bytes)
  /bin/blkdiscard -o ${CUT.offset} -l ${CUT.length} /dev/vda
  ask discarded
  mkfs.ext4 -q -E nodiscard /dev/vda
  mount -t ext4 /dev/vda /mnt
  head -c ${CUT.length} /dev/urandom >/mnt/large
  sync
  ask filled
  rm /mnt/large
  sync
  fstrim /mnt
  ask trimmed
  umount /mnt

  result zeroes_max $(disk vdb queue/write_zeroes_max_bytes)
  /bin/blkdiscard -z -o ${CUT.offset} -l ${CUT.length} /dev/vdb
  forget
  result nonzero $(dd if=/dev/vdb bs=1M skip=${CUT.offset / MIB} count=${CUT.length / MIB} | tr -d '\\0' | wc -c)

  result readonly $(disk vdc ro)
  if dd if=/dev/zero of=/dev/vdc bs=4k count=1 conv=fsync; then result refused no; else result refused yes; fi
  result content $(sum /dev/vdc)

  result before $(disk vdd size)
  ask resize
  set +x
  for i in $(seq 100); do
    [ $(disk vdd size) = "$answer" ] && break
    usleep 200000
  done
  set -x
  result after $(disk vdd size)
  dd if=/dev/urandom of=/tmp/end bs=1M count=1
  dd if=/tmp/end of=/dev/vdd bs=1M seek=${RESIZED_BYTES / MIB - 1} conv=fsync
  result end $(sum /tmp/end)
`;

describeGuests('a disk', (scene) => {
  const full = Buffer.alloc(SIZE_BYTES, 'not a zero; ');
  const images = new Map<string, string>();
  const allocated = new Map<string, number>();
  let results: GuestResults;

  beforeAll(async () => {
    const disks = ['vda', 'vdb', 'vdc', 'vdd'].map((id) => {
      const filename = createImage(scene().path(`${id}.img`), SIZE_BYTES, id === 'vdd' ? undefined : full);
      images.set(id, filename);
      const writable = id === 'vdc' ? 'off' : 'on';
      const node = { driver: 'file', filename, discard: 'unmap' };
      return { id, node, export: `writable=${writable},iothread=iothread0` };
    });
    await using daemon = await scene().serve({ iothreads: ['iothread0'], disks });
    const qmp = await Qmp.connect(monitorOf(scene().directory));
    const measure = (name: string) => async () =>
      void allocated.set(name, allocatedBytes(images.get('vda')!));
    results = await scene().boot({
      disks: disks.map(({ id }) => ({ socket: scene().socket(id) })),
      script: SCRIPT,
      answers: {
        discarded: measure('discarded'),
        filled: measure('filled'),
        trimmed: measure('trimmed'),
        resize: async () => {
          await qmp.execute('block_resize', { 'node-name': 'vdd', size: RESIZED_BYTES });
          return `${RESIZED_BYTES / 512}`;
        },
      },
    });
    qmp.close();
    await daemon.stop();
  }, TIMEOUT_MS);

  test('gives discarded blocks back to the host', () => {
    expect(results.number('discard_max')).toBeGreaterThan(0);
    expect(allocated.get('discarded')).toBeLessThanOrEqual(SIZE_BYTES - CUT.length + MIB);
    expect(allocated.get('discarded')).toBeGreaterThanOrEqual(SIZE_BYTES - CUT.length);
  });

  test('gives back what a file system trims', () => {
    expect(allocated.get('trimmed')!).toBeLessThan(allocated.get('filled')! - CUT.length);
  });

  test('writes zeroes where the guest says so, and nowhere else', () => {
    expect(results.number('zeroes_max')).toBeGreaterThan(0);
    expect(results.number('nonzero')).toBe(0);
    const wanted = Buffer.from(full).fill(0, CUT.offset, CUT.offset + CUT.length);
    expect(sha256(readImage(images.get('vdb')!, 0, SIZE_BYTES))).toBe(sha256(wanted));
  });

  test('that is read-only can be read alone', () => {
    expect(results.get('readonly')).toBe('1');
    expect(results.get('refused')).toBe('yes');
    expect(results.get('content')).toBe(sha256(full));
    expect(sha256(readImage(images.get('vdc')!, 0, SIZE_BYTES))).toBe(sha256(full));
  });

  test('that grows does so under the guest', () => {
    expect(results.number('before')).toBe(SIZE_BYTES / 512);
    expect(results.number('after')).toBe(RESIZED_BYTES / 512);
    const end = readImage(images.get('vdd')!, RESIZED_BYTES - MIB, MIB);
    expect(sha256(end)).toBe(results.get('end'));
  });
});
