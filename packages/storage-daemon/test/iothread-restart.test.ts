// An iothread of a real daemon dies again and again under two exports.
import { VhostUserFrontEnd } from '@iothreads/vhost-user/front-end';
import { readdirSync, writeFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { fixture } from '../../../test/support/fixture.js';
import { until, within } from '../../../test/support/within.js';
import { DaemonProcess } from './support/daemon-process.js';
import { QmpClient } from './support/qmp-client.js';
import { Scratch } from './support/scratch.js';

const DEATHS = 10;
const SIZE = 1 << 20;
const DEADLY_SECTOR = 1000;
const SMALL = { memoryBytes: 1 << 20, queueSize: 16, dataBytes: 4096 } as const;

/** A daemon whose iothread serves a disk that dies when sector 1000 is read, and an image. */
function startDaemon(scratch: Scratch): DaemonProcess {
  const image = scratch.file('disk.img');
  writeFileSync(image, new Uint8Array(SIZE));
  const disk = {
    driver: 'module',
    'node-name': 'mortal',
    url: fixture('dying-disk.mjs'),
    options: { size: SIZE, how: 'exit', deadly: DEADLY_SECTOR * 512 },
  };
  const exported = (id: string): string =>
    `--export=vhost-user-blk,id=${id},node-name=${id},writable=on,iothread=io,addr.type=unix,addr.path=${scratch.file(id)}`;
  return new DaemonProcess([
    `--chardev=socket,id=m,path=${scratch.file('qmp')},server=on,wait=off`,
    '--monitor=m',
    '--object=iothread,id=io',
    `--blockdev=${JSON.stringify(disk)}`,
    `--blockdev=file,node-name=image,filename=${image}`,
    exported('mortal'),
    exported('image'),
  ]);
}

/** Serves for a while, and dies. @returns when both front ends have been disconnected */
async function liveAndDie(scratch: Scratch, life: number): Promise<void> {
  const [mortal, image] = await Promise.all(
    ['mortal', 'image'].map((id) => VhostUserFrontEnd.connect(scratch.file(id), SMALL)),
  );
  for (let i = 0; i < 20; i++) await mortal!.queues[0]!.read(i, 512);
  // What the lives before have written is there: the daemon has kept the image open.
  if (life > 0) expect((await image!.queues[0]!.read(life - 1, 512))[0]).toBe(life);
  await image!.queues[0]!.write(life, new Uint8Array(512).fill(life + 1));
  void mortal!.queues[0]!.read(DEADLY_SECTOR, 512);
  for (const frontEnd of [mortal!, image!]) {
    expect(await within(frontEnd.requests.receive(), 'the end of the connection')).toBeUndefined();
    await frontEnd.close();
  }
}

test('ten times both its exports are served again when their front ends reconnect; nothing is left behind', async () => {
  using scratch = new Scratch();
  await using daemon = startDaemon(scratch);
  await daemon.ready();
  const { pid } = daemon.child;
  using qmp = await QmpClient.connect(scratch.file('qmp'));
  const iothread = async (): Promise<Record<string, unknown>> =>
    ((await qmp.execute('query-iothreads')) as [Record<string, unknown>])[0];
  const served = (restarts: number) => async (): Promise<boolean> => {
    const { 'x-alive': alive, 'x-restarts': count, 'x-devices': devices } = await iothread();
    return alive === true && count === restarts && (devices as string[]).length === 2;
  };
  const openFds = (): number => readdirSync(`/proc/${pid}/fd`).length;
  let fds = 0;
  for (let life = 0; life < DEATHS; life++) {
    await liveAndDie(scratch, life);
    // Every other time the front ends come before there is anybody to serve them.
    if (life % 2 === 0 && life !== DEATHS - 1) continue;
    await until('the next worker', served(life + 1), () => daemon.stderr);
    if (life === 1) fds = openFds();
  }
  await until(
    'no more descriptors than after the second',
    () => openFds() <= fds,
    () => `${openFds()}, ${fds}`,
  );
  const lines = daemon.stderr.split('\n');
  const count = (text: string): number => lines.filter((line) => line.includes(text)).length;
  expect(count("error: iothread 'io' died: worker exited with code: 3; it is started again")).toBe(DEATHS);
  expect(
    count(
      "info: iothread 'io' has been started again; its exports are served again when their front ends reconnect",
    ),
  ).toBe(DEATHS);
  expect(await iothread()).toMatchObject({ 'x-alive': true, 'x-restarts': DEATHS });
  expect(daemon.child.exitCode).toBeNull();
  expect((await daemon.stop()).code).toBe(0);
});
