import { expect, test } from 'vitest';
import { faultsOf, readFileInImage, sha256 } from '../../guests/support/image.js';
import { syncAllowed, totals } from '../../support/statistics.js';
import type { Scene } from '../support/scene.js';

const DISK_BYTES = 16 << 20;
const FILES = 10;

/** Makes, copies and removes files on both disks at the same time, and reads them again. */
const WORK = `
  work() {
    mount -t ext4 /dev/$1 $2
    rm -rf $2/*
    dd if=/dev/urandom of=$2/first bs=64k count=8
    mkdir $2/many
    for n in $(seq ${FILES}); do echo $1 $n >$2/many/$n; done
    cp $2/first $2/second
    sync
    rm $2/first
  }
  mkdir -p /tmp/b
  work vda /mnt & a=$!
  work vdb /tmp/b & b=$!
  wait $a
  wait $b
  result vda $(sum /mnt/second)
  result vdb $(sum /tmp/b/second)
  forget
  result vda-read $(sum /mnt/second)
  result vdb-read $(sum /tmp/b/second)
  umount /mnt /tmp/b
`;

export function fileSystems(scene: () => Scene): void {
  test('on two disks of one iothread, used at once, and of two', async () => {
    const images = ['vda', 'vdb'].map((id) => ({ id, filename: scene().ext4(`${id}.img`, DISK_BYTES) }));
    await using machine = await scene().machine({
      disks: images.map(({ id, filename }) => ({
        id,
        drive: { driver: 'file', filename },
        completion: id === 'vda' ? 'pull' : 'wake',
      })),
    });
    const { runtime } = machine;
    const work = async (): Promise<void> => {
      const told = await machine.guest.run(WORK);
      for (const { id, filename } of images) {
        expect(told.text(`${id}-read`)).toBe(told.text(id));
        expect(faultsOf(filename)).toBe('');
        expect(sha256(readFileInImage(filename, '/second'))).toBe(told.text(id));
        expect(readFileInImage(filename, `/many/${FILES}`).toString()).toBe(`${id} ${FILES}\n`);
      }
    };
    await work();
    expect(await syncAllowed(runtime)).toEqual({ iothread0: false, iothread1: true });
    for (const { id } of images) expect(await totals(runtime, id)).toMatchObject({ sync: 0, errors: 0 });

    await runtime.moveDevice('vdb', 'iothread1');
    await work();
    expect(await syncAllowed(runtime)).toEqual({ iothread0: true, iothread1: true });
    for (const { id } of images) expect(await totals(runtime, id)).toMatchObject({ errors: 0 });
    expect(machine.errors).toEqual([]);
  });

  test('has its disk moved while it is read', async () => {
    const filename = scene().ext4('moving.img', DISK_BYTES);
    await using machine = await scene().machine({
      disks: [{ id: 'vda', drive: { driver: 'file', filename }, completion: 'pull' }],
      answers: {
        move: async () => {
          for (const iothread of ['iothread1', 'iothread0', 'iothread1']) {
            await machine.runtime.moveDevice('vda', iothread);
          }
        },
      },
    });
    await machine.guest.run(`
      mount -t ext4 /dev/vda /mnt
      dd if=/dev/urandom of=/tmp/data bs=64k count=6
      (for n in $(seq 4); do dd if=/tmp/data of=/mnt/$n bs=16k conv=fsync; done) & writer=$!
      dd if=/dev/vda of=/dev/null bs=16k count=100 iflag=direct & reader=$!
      ask move
      wait $writer
      wait $reader
      forget
      for n in $(seq 4); do cmp /mnt/$n /tmp/data; done
      umount /mnt
    `);
    expect(faultsOf(filename)).toBe('');
    expect(machine.errors).toEqual([]);
  });
}
