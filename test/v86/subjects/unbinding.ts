import { expect, test } from 'vitest';
import { createImage, readImage, sha256 } from '../../guests/support/image.js';
import { totals } from '../../support/statistics.js';
import { until } from '../../support/within.js';
import type { Scene } from '../support/scene.js';

const DISK_BYTES = 4 << 20;
const TURNS = 10;
/** Requests of a load before its disk is taken away. */
const BUSY_AFTER = 8;

export function unbinding(scene: () => Scene): void {
  test('ten times, while its disk works, and the other one', async () => {
    const images = ['unbound.img', 'other.img'].map((name) =>
      createImage(scene().path(name), DISK_BYTES),
    ) as [string, string];
    await using machine = await scene().machine({
      disks: [
        { id: 'vda', drive: { driver: 'file', filename: images[0] }, completion: 'pull' },
        { id: 'vdb', drive: { driver: 'file', filename: images[1] }, completion: 'wake' },
      ],
      answers: {
        busy: async () => {
          const { operations } = await totals(machine.runtime, 'vda');
          await until('load on vda', async () => {
            return (await totals(machine.runtime, 'vda')).operations >= operations + BUSY_AFTER;
          });
        },
      },
    });
    const told = await machine.guest.run(`
      driver=/sys/bus/virtio/drivers/virtio_blk
      device=$(basename $(readlink -f /sys/block/vda/device))
      dd if=/dev/urandom of=/tmp/data bs=64k count=1
      expected=$(sum /tmp/data)
      dd if=/tmp/data of=/dev/vda bs=64k oflag=direct
      dd if=/tmp/data of=/dev/vdb bs=64k oflag=direct

      # Without end: who comes to it has lost its disk.
      load() {
        while dd if=/tmp/data of=/dev/vda bs=16k oflag=direct && dd if=/dev/vda of=/dev/null bs=4k count=16 iflag=direct; do :; done
      }
      neighbour() {
        until [ -e /tmp/enough ]; do
          [ $(dd if=/dev/vdb bs=16k count=4 iflag=direct | sum) = $expected ] || return 1
          echo >>/tmp/rounds
        done
      }
      neighbour 2>/dev/null & neighbour=$!
      for turn in $(seq ${TURNS}); do
        load 2>/dev/null & first=$!
        load 2>/dev/null & second=$!
        ask busy
        echo $device >$driver/unbind
        wait $first
        wait $second
        # A load that came too late for the disk has made a file of that name.
        rm -f /dev/vda
        [ ! -e /sys/block/vda ]
        echo $device >$driver/bind
        [ $(disk vda size) = ${DISK_BYTES / 512} ]
        [ $(dd if=/dev/vda bs=64k count=1 iflag=direct 2>/dev/null | sum) = $expected ]
      done
      >/tmp/enough
      wait $neighbour
      result rounds $(wc -l </tmp/rounds)
      result expected $expected
    `);
    expect(told.number('rounds')).toBeGreaterThan(TURNS);
    for (const image of images) expect(sha256(readImage(image, 0, 1 << 16))).toBe(told.text('expected'));
    for (const id of ['vda', 'vdb']) {
      expect(machine.disk(id).inFlight).toBe(0);
      expect(await totals(machine.runtime, id)).toMatchObject({ errors: 0 });
    }
    expect(machine.errors).toEqual([]);
  });
}
