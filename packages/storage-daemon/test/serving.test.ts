// Requests through a real daemon's sockets, and what it tells of them.
import { VhostUserFrontEnd } from '@iothreads/vhost-user/front-end';
import { statSync, truncateSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { DaemonProcess } from './support/daemon-process.js';
import { QmpClient } from './support/qmp-client.js';
import { Scratch } from './support/scratch.js';
import { within } from '../../../test/support/within.js';

const BLOCK = 4096;
const exported = (scratch: Scratch, id: string, node: string, more: string): string =>
  `--export=vhost-user-blk,id=${id},node-name=${node},writable=on,addr.type=unix,addr.path=${scratch.file(id)},${more}`;
const monitor = (scratch: Scratch): string[] => [
  `--chardev=socket,id=m,path=${scratch.file('qmp')},server=on,wait=off`,
  '--monitor=m',
];

interface ExportReport {
  readonly id: string;
  readonly iothreads: readonly string[];
  readonly sync: number;
  readonly async: number;
  readonly kinds: {
    readonly read: { readonly operations: number };
    readonly write: { readonly operations: number };
  };
}
interface NodeReport {
  readonly 'node-name': string;
  readonly stats: {
    readonly rd_bytes: number;
    readonly wr_operations: number;
    readonly rd_latency_histogram: { readonly bins: readonly number[] };
  };
  readonly 'x-exports': readonly ExportReport[];
}

test('64 exports on 4 iothreads: each is a disk of its own', async () => {
  using scratch = new Scratch();
  const indexes = Array.from({ length: 64 }, (_, index) => index);
  await using daemon = new DaemonProcess([
    ...[0, 1, 2, 3].map((index) => `--object=iothread,id=io${index}`),
    ...indexes.flatMap((index) => [
      `--blockdev=memory,node-name=n${index},size=1048576`,
      exported(scratch, `e${index}`, `n${index}`, `iothread=io${index % 4}`),
    ]),
  ]);
  await daemon.ready();
  const frontEnds: VhostUserFrontEnd[] = [];
  for (const index of indexes) {
    frontEnds.push(
      await VhostUserFrontEnd.connect(scratch.file(`e${index}`), { memoryBytes: 1 << 20, dataBytes: BLOCK }),
    );
  }
  await Promise.all(
    frontEnds.map((each, index) => each.queues[0]!.write(8, new Uint8Array(BLOCK).fill(index + 1))),
  );
  for (const [index, frontEnd] of frontEnds.entries()) {
    const bytes = await frontEnd.queues[0]!.read(8, BLOCK);
    expect(bytes.every((byte) => byte === index + 1)).toBe(true);
    await frontEnd.close();
  }
  expect((await daemon.stop()).code).toBe(0);
});

test('an export alone may be served synchronously, two on one iothread never; the counts add up', async () => {
  using scratch = new Scratch();
  await using daemon = new DaemonProcess([
    ...monitor(scratch),
    '--object=iothread,id=own',
    '--object=iothread,id=shared',
    '--object=iothread,id=other',
    '--blockdev=null-co,node-name=n0,size=1048576',
    '--blockdev=null-co,node-name=n1,size=1048576',
    '--blockdev=null-co,node-name=n2,size=1048576',
    exported(scratch, 'alone', 'n0', 'iothread=own'),
    exported(scratch, 'one', 'n1', 'iothread=shared'),
    exported(scratch, 'two', 'n2', 'iothread.0=shared,iothread.1=other,num-queues=2'),
  ]);
  await daemon.ready();
  for (const id of ['alone', 'one', 'two']) {
    const frontEnd = await VhostUserFrontEnd.connect(scratch.file(id));
    for (let i = 0; i < 50; i++) await frontEnd.queues[0]!.read(8 * i, BLOCK);
    await frontEnd.queues[0]!.write(0, new Uint8Array(512));
    await frontEnd.close();
  }
  using qmp = await QmpClient.connect(scratch.file('qmp'));
  const nodes = (await qmp.execute('query-blockstats')) as NodeReport[];
  expect(nodes.map((node) => node['node-name'])).toEqual(['n0', 'n1', 'n2']);
  for (const { stats, 'x-exports': exports } of nodes) {
    expect([stats.rd_bytes, stats.wr_operations]).toEqual([50 * BLOCK, 1]);
    expect(stats.rd_latency_histogram.bins.reduce((sum, bin) => sum + bin, 0)).toBe(50);
    expect(exports).toHaveLength(1);
    const [{ sync, async, kinds }] = exports as [ExportReport];
    expect([kinds.read.operations, kinds.write.operations, sync + async]).toEqual([50, 1, 51]);
  }
  const [alone, one, two] = nodes.map((node) => node['x-exports'][0]!);
  expect(alone!.sync).toBeGreaterThan(0);
  expect([one!.sync, two!.sync]).toEqual([0, 0]);
  expect(two!.iothreads).toEqual(['shared', 'other']);
  const iothreads = (await qmp.execute('query-iothreads')) as Record<string, unknown>[];
  expect(iothreads.map((each) => [each['id'], each['x-devices'], each['x-sync-allowed']])).toEqual([
    ['own', ['alone'], true],
    ['shared', ['one', 'two'], false],
    ['other', ['two'], true],
  ]);
});

test('a resize reaches the front end and the image', async () => {
  using scratch = new Scratch();
  const image = scratch.file('disk.img');
  writeFileSync(image, '');
  truncateSync(image, 1 << 20);
  await using daemon = new DaemonProcess([
    ...monitor(scratch),
    `--blockdev=file,node-name=n,filename=${image}`,
    exported(scratch, 'e', 'n', 'num-queues=1'),
  ]);
  await daemon.ready();
  const frontEnd = await VhostUserFrontEnd.connect(scratch.file('e'));
  const queue = frontEnd.queues[0]!;
  await expect(queue.read(2048, 512)).rejects.toMatchObject({ code: 'ERR_REQUEST_FAILED' });
  using qmp = await QmpClient.connect(scratch.file('qmp'));
  const changed = frontEnd.configChanges!.moreThan(0);
  expect(await qmp.execute('block_resize', { 'node-name': 'n', size: 2 << 20 })).toEqual({});
  await within(changed, 'the change of the configuration');
  expect(await frontEnd.capacitySectors()).toBe(4096);
  expect(statSync(image).size).toBe(2 << 20);
  await queue.write(4095, new Uint8Array(512).fill(9));
  expect((await queue.read(4095, 512))[0]).toBe(9);
  await frontEnd.close();
});
