// What front ends write is recorded, whichever node it comes through.
import { readWriteLog } from '@iothreads/backends';
import { VhostUserFrontEnd } from '@iothreads/vhost-user/front-end';
import { readFileSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { DaemonProcess } from './support/daemon-process.js';
import { Scratch } from './support/scratch.js';

const SECTOR = new Uint8Array(512).fill(7);

test('of a node and of a window onto it, in one log', async () => {
  using scratch = new Scratch();
  const image = scratch.file('disk.img');
  const log = scratch.file('log');
  writeFileSync(image, new Uint8Array(1 << 20));
  await using daemon = new DaemonProcess([
    `--blockdev=file,node-name=f,filename=${image}`,
    `--blockdev=blklogwrites,node-name=l,file=f,log.driver=file,log.filename=${log}`,
    '--blockdev=raw,node-name=w,file=l,offset=4096',
    ...['l', 'w'].map(
      (node) =>
        `--export=vhost-user-blk,id=${node},node-name=${node},writable=on,addr.type=unix,addr.path=${scratch.file(node)}`,
    ),
  ]);
  await daemon.ready();
  const frontEnds = await Promise.all(
    ['l', 'w'].map((node) => VhostUserFrontEnd.connect(scratch.file(node), { memoryBytes: 4 << 20 })),
  );
  const [whole, part] = frontEnds.map(({ queues }) => queues[0]!);
  await whole!.write(1, SECTOR);
  await part!.write(1, SECTOR);
  await part!.flush();
  await whole!.writeZeroes(2, 1024);
  await part!.discard(3, 512);
  const recorded = () =>
    [...readWriteLog(log)].map(({ kind, sector, sectors }) => `${kind} ${sector}+${sectors}`);
  const expected = ['write 1+1', 'write 9+1', 'flush 0+0', 'write 2+2', 'discard 11+1'];
  expect(recorded()).toEqual(expected);
  for (const frontEnd of frontEnds) await frontEnd.close();
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  expect(recorded()).toEqual(expected);
  // How many there are stands in the superblock when the log has been closed.
  expect(readFileSync(log).readBigUInt64LE(16)).toBe(5n);
});

test('a log that is a disk image is refused in one line', async () => {
  using scratch = new Scratch();
  const image = scratch.file('disk.img');
  writeFileSync(image, new Uint8Array(4096).fill(1));
  await using daemon = new DaemonProcess([
    '--blockdev=null-co,node-name=n',
    `--blockdev=blklogwrites,node-name=l,file=n,log.driver=file,log.filename=${image}`,
  ]);
  const { code, stderr } = await daemon.ended();
  expect(code).toBe(1);
  expect(stderr).toContain(`${image}: is there already and no log`);
  expect(stderr.trimEnd().split('\n')).toHaveLength(1);
});
