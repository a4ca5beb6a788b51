// The host's disk fills up under a guest: the guest waits, and its file system is none the worse for it.
import { setTimeout } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { FillingDisk } from '../support/filling-disk.js';
import { monitorOf } from './support/daemon.js';
import { faultsOf, readFileInImage, sha256 } from './support/image.js';
import { Qmp } from './support/qmp.js';
import { describeGuests } from './support/scene.js';

const MIB = 1 << 20;
const STEP_BYTES = 12 * MIB;

describeGuests('a guest whose disk is full', (scene) => {
  test('waits, and goes on when there is room: its file system is whole, and has everything', async () => {
    using disk = new FillingDisk(96 * MIB, 2 * STEP_BYTES);
    const daemon = await scene().serve({
      iothreads: ['iothread0'],
      disks: [{ id: 'vda', node: disk.node, export: 'writable=on,iothread=iothread0,werror=enospc' }],
    });
    const qmp = await Qmp.connect(monitorOf(scene().directory));
    let pauses = 0;
    const written = new AbortController();
    /** An operator who makes room a little at a time. */
    const operate = async (): Promise<void> => {
      for (let room = 3 * STEP_BYTES; !written.signal.aborted;) {
        const [vda] = (await qmp.execute('query-block-exports')) as { readonly 'io-status': string }[];
        if (vda!['io-status'] === 'nospace') {
          pauses++;
          disk.makeRoom(room);
          room += STEP_BYTES;
          await qmp.execute('cont');
        }
        await setTimeout(20);
      }
    };
    let operator: Promise<void> | undefined;
    try {
      const guest = await scene().boot({
        disks: [{ socket: scene().socket('vda') }],
        script: `
          mkfs.ext4 -q /dev/vda
          mount -t ext4 /dev/vda /mnt
          head -c ${40 * MIB} /dev/urandom >/tmp/large
          ask begin
          cp /tmp/large /mnt/large
          for i in $(seq 100); do echo "file $i" >/mnt/small$i; done
          sync
          result synced $?
          ask end
          forget
          cmp /tmp/large /mnt/large
          result written $(sum /mnt/large)
          mount | grep /mnt
          touch /mnt/last
          umount /mnt
        `,
        answers: {
          begin: async () => {
            operator = operate();
          },
          end: async () => {
            written.abort();
            await operator;
          },
        },
      });
      await daemon.stop();
      expect(pauses).toBeGreaterThan(0);
      expect(guest.get('synced')).toBe('0');
      expect(faultsOf(disk.filename)).toBe('');
      expect(sha256(readFileInImage(disk.filename, '/large'))).toBe(guest.get('written'));
      expect(readFileInImage(disk.filename, '/small100').toString()).toBe('file 100\n');
      expect(daemon.log).toContain("export 'vda': paused, WRITE has failed with ENOSPC");
    } finally {
      written.abort();
      await operator?.catch(() => undefined);
      qmp.close();
      await daemon.kill();
    }
  });
});
