import { test } from 'vitest';
import { createImage } from './support/image.js';
import { monitorOf } from './support/daemon.js';
import { Qmp } from './support/qmp.js';
import { describeGuests } from './support/scene.js';
describeGuests('t', (scene) => {
  test('t', async () => {
    const EX: Record<string, string> = JSON.parse(process.env['EX']!);
    const ids = Object.keys(EX);
    const disks = ids.map((id) => ({ id, node: { driver: 'file', filename: createImage(scene().path(id), 16 << 20) }, export: `writable=on,num-queues=2,${EX[id]}` }));
    await using d = await scene().serve({ iothreads: ['iothread0', 'iothread1', 'iothread2'], disks });
    const q = await Qmp.connect(monitorOf(scene().directory));
    await scene().boot({ vcpus: 2, deadlineMs: 40000, 
      disks: ids.map((id) => ({ socket: scene().socket(id), queues: 2 })),
      script: `
        write() {
        ( if yes "$1 from processor $2" | head -c 2097152 | timeout 10 taskset -c $2 dd of=/dev/$1 bs=64k seek=$(($2 * 32)) iflag=fullblock oflag=direct 2>/tmp/$1$2; then :; else echo "HUNG $1 $2"; fi )
        }
        set +x
        for disk in ${ids.join(' ')}; do for p in 0 1; do write $disk $p & done; done
        sleep 13
        grep req /proc/interrupts
        for disk in ${ids.join(' ')}; do echo $disk $(cat /sys/block/$disk/inflight); done
        ask stats
        `, answers: { stats: async () => { console.log(JSON.stringify(await q.execute('query-iothreads'), null, 1), JSON.stringify(await q.execute('query-blockstats'))); throw new Error('done'); } } }).catch((e) => console.log(String(e)));
    console.log(d.log);
    await d.stop();
  });
});
