// Faults that are scripted over QMP while a front end uses the disk.
import { VhostUserFrontEnd } from '@iothreads/vhost-user/front-end';
import { writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { until, within } from '../../../test/support/within.js';
import { DaemonProcess } from './support/daemon-process.js';
import { QmpClient } from './support/qmp-client.js';
import { Scratch } from './support/scratch.js';

const SECTOR = new Uint8Array(512).fill(7);
const BYTES = 1 << 20;

test('rules from the command line and from QMP, through windows and after a resize', async () => {
  using scratch = new Scratch();
  const image = scratch.file('disk.img');
  writeFileSync(image, new Uint8Array(BYTES));
  await using daemon = new DaemonProcess([
    `--chardev=socket,id=m,path=${scratch.file('qmp')},server=on,wait=off`,
    '--monitor=m',
    `--blockdev=blkdebug,node-name=d,inject-error.0.iotype=write,inject-error.0.sector=9,inject-error.0.once=on,image.driver=file,image.filename=${image},image.node-name=f`,
    '--blockdev=raw,node-name=w,file=d,offset=4096,size=8192',
    '--blockdev=raw,node-name=r,file=d',
    ...['r', 'w'].map(
      (node) =>
        `--export=vhost-user-blk,id=${node},node-name=${node},writable=on,addr.type=unix,addr.path=${scratch.file(node)}`,
    ),
  ]);
  await daemon.ready();
  using qmp = await QmpClient.connect(scratch.file('qmp'));
  const query = () => qmp.execute('x-blkdebug-query', { 'node-name': 'd' });
  const set = (...rules: object[]) =>
    qmp.execute('x-blkdebug-set-rules', { 'node-name': 'd', 'inject-error': rules });
  const [whole, window] = await Promise.all(
    ['r', 'w'].map((node) => VhostUserFrontEnd.connect(scratch.file(node), { memoryBytes: 4 << 20 })),
  );
  const [all, part] = [whole!.queues[0]!, window!.queues[0]!];

  // Sector 1 of the window is sector 9 of the disk; the rules are the same whoever comes.
  await expect(part.write(1, SECTOR)).rejects.toThrow('status 1');
  await all.write(9, SECTOR);
  expect(await query()).toEqual([{ iotype: 'write', sector: 9, once: true, seen: 2, fired: 1 }]);

  expect(await set({ iotype: 'flush', errno: 28, count: 2 }, { sector: 12, hang: true })).toEqual({});
  await expect(all.flush()).rejects.toThrow('status 1');
  await expect(part.flush()).rejects.toThrow('status 1');
  await part.flush();
  let written = false;
  const hanging = all.write(12, SECTOR).then(() => (written = true));
  await until('the hang', async () => ((await query()) as { fired: number }[])[1]!.fired === 1);
  await all.write(13, SECTOR);
  expect(written).toBe(false);
  expect(await set()).toEqual({});
  await hanging;
  expect(await query()).toEqual([]);
  expect(await part.read(4, 512)).toEqual(SECTOR);

  await expect(set({ errno: 'ENOPE' })).rejects.toThrow(
    "'inject-error.0.errno' must be the number of an error",
  );
  await expect(set({ hang: true, errno: 5 })).rejects.toThrow('rules[0].hang: what hangs does nothing else');
  await expect(qmp.execute('x-blkdebug-query', { 'node-name': 'r' })).rejects.toThrow(
    "Node 'r' is no blkdebug",
  );
  expect(await qmp.execute('query-named-block-nodes')).toMatchObject([
    { 'node-name': 'r', drv: 'raw' },
    { 'node-name': 'w', drv: 'raw' },
    { 'node-name': 'd', drv: 'blkdebug', file: 'json:{"driver":"blkdebug","image":"f"}' },
    { 'node-name': 'f', drv: 'file' },
  ]);

  await window!.close();
  await until('the end of the window', () =>
    qmp.execute('block-export-del', { id: 'w' }).then(
      () => true,
      () => false,
    ),
  );
  await qmp.execute('blockdev-del', { 'node-name': 'w' });
  const changed = whole!.configChanges!.moreThan(0);
  await qmp.execute('block_resize', { 'node-name': 'd', size: 2 * BYTES });
  await within(changed, 'the change of the configuration');
  expect(await whole!.capacitySectors()).toBe((2 * BYTES) / 512);
  await set({ sector: 3000 });
  await expect(all.write(3000, SECTOR)).rejects.toThrow('status 1');
  await all.write(3001, SECTOR);
  await whole!.close();
  expect(await daemon.stop()).toMatchObject({ code: 0 });
});

const QUERIES = [
  'query-blockstats',
  'query-chardev',
  'query-commands',
  'query-iothreads',
  'query-named-block-nodes',
  'query-version',
  'x-query-supervision',
];

test('while a removal waits for a disk that hangs, other monitors are told, and can end the hang', async () => {
  using scratch = new Scratch();
  await using daemon = new DaemonProcess([
    ...['a', 'b'].flatMap((id) => [
      `--chardev=socket,id=${id},path=${scratch.file(id)},server=on,wait=off`,
      `--monitor=${id}`,
    ]),
    '--blockdev=blkdebug,node-name=d,inject-error.0.hang=on,image.driver=memory,image.size=1048576',
    `--export=vhost-user-blk,id=e,node-name=d,writable=on,addr.type=unix,addr.path=${scratch.file('e')}`,
  ]);
  await daemon.ready();
  using removing = await QmpClient.connect(scratch.file('a'));
  using qmp = await QmpClient.connect(scratch.file('b'));
  const frontEnd = await VhostUserFrontEnd.connect(scratch.file('e'), { memoryBytes: 4 << 20 });
  try {
    const written = frontEnd.queues[0]!.write(0, SECTOR);
    const query = () => qmp.execute('x-blkdebug-query', { 'node-name': 'd' });
    await until('the hang', async () => ((await query()) as { fired: number }[])[0]!.fired === 1);
    let isRemoved = false;
    const removed = removing.execute('block-export-del', { id: 'e', mode: 'hard' }).finally(() => {
      isRemoved = true;
    });
    const exports = () => qmp.execute('query-block-exports') as Promise<{ 'shutting-down': boolean }[]>;
    await until('the removal begins', async () => (await exports())[0]!['shutting-down']);
    for (const name of QUERIES) await within(qmp.execute(name), name);
    expect(isRemoved).toBe(false);
    await qmp.execute('x-blkdebug-set-rules', { 'node-name': 'd', 'inject-error': [] });
    await qmp.execute('cont');
    await within(removed, 'the removal');
    await within(written, 'the write');
  } finally {
    await frontEnd.close();
  }
});
