// The same through a real daemon: when the power is cut at any point of its record, and when the daemon itself is killed.
import { VhostUserFrontEnd, type FrontEndQueue } from '@iothreads/vhost-user/front-end';
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { DaemonProcess } from '../../packages/storage-daemon/test/support/daemon-process.js';
import { randomIntegers, seed, seeded } from '../support/random.js';
import { within } from '../support/within.js';
import { THE_END } from './support/crash-images.js';
import type { DurableLoad, DurableQueue } from './support/durable-load.js';
import { checkCuts, generationsOf, makeLoad, SECTORS, withImage } from './support/recorded-guest.js';

const durable = (queue: FrontEndQueue): DurableQueue => ({
  request: async (type, sector, data) => (await queue.request(type, sector, data.length, data)).status,
});

async function withDaemon(
  args: readonly string[],
  socket: string,
  body: (queues: readonly DurableQueue[], daemon: DaemonProcess) => Promise<void>,
): Promise<void> {
  await using daemon = new DaemonProcess(args);
  await daemon.ready();
  const frontEnd = await VhostUserFrontEnd.connect(socket, {
    numQueues: 2,
    memoryBytes: 4 << 20,
    dataBytes: 4096,
  });
  try {
    await body(frontEnd.queues.map(durable), daemon);
  } finally {
    await frontEnd.close();
  }
}

const exportOf = (node: string, socket: string, writeThrough: boolean): readonly string[] => [
  '--object=iothread,id=io0',
  '--object=iothread,id=io1',
  `--export=vhost-user-blk,id=e,node-name=${node},writable=on,writethrough=${writeThrough ? 'on' : 'off'},num-queues=2,iothread.0=io0,iothread.1=io1,addr.type=unix,addr.path=${socket}`,
];

describe.runIf(process.platform === 'linux').each([
  ['write-back', false],
  ['write-through', true],
] as const)('%s', (_, writeThrough) => {
  test(seeded('a power cut at any point'), () =>
    withImage(async (filename, directory) => {
      const log = join(directory, 'log');
      const socket = join(directory, 'sock');
      const record = `--blockdev=blklogwrites,node-name=l,file.driver=file,file.filename=${filename},log.driver=file,log.filename=${log}`;
      await withDaemon([record, ...exportOf('l', socket, writeThrough)], socket, async (queues) => {
        // What a guest has seen complete stands in the file.
        const position = (): number => Math.floor(statSync(log).size / 512);
        const load = makeLoad(queues, { requests: 24, writeThrough, position });
        await within(load.run(), 'the load');
        const { mistakes, images } = checkCuts(log, load.history);
        expect(mistakes).toEqual([]);
        expect(images).toBeGreaterThan(1000);
        expect(load.history.mistake(generationsOf(filename), THE_END, true)).toBeUndefined();
      });
    }),
  );
});

describe.runIf(process.platform === 'linux')('SIGKILL', () => {
  test.each([
    ['aio=io_uring', false],
    ['aio=threads', false],
    ['cache.direct=on', false],
    ['aio=io_uring', true],
  ])(seeded('%s, write-through %s: all that was complete is there'), (option, writeThrough) =>
    withImage(async (filename, directory) => {
      const load = await killed(`file,filename=${filename},${option}`, join(directory, 'sock'), writeThrough);
      // The host goes on: flushed or not.
      expect(load.history.mistake(generationsOf(filename), THE_END, true)).toBeUndefined();
      expect(load.flushes).toBeGreaterThan(0);
    }),
  );

  test(seeded('a daemon that keeps it all in its memory is found out'), () =>
    withImage(async (filename, directory) => {
      const load = await killed(`memory,size=${SECTORS * 512}`, join(directory, 'sock'), false);
      expect(load.history.mistake(generationsOf(filename), THE_END)).toMatch(
        / holds generation 0 .* promised/,
      );
    }),
  );
});

/** A load on a daemon that is killed at a moment of which nothing is known but how many requests were complete. */
async function killed(blockdev: string, socket: string, writeThrough: boolean): Promise<DurableLoad> {
  let load: DurableLoad;
  const args = [`--blockdev=${blockdev},node-name=f`, ...exportOf('f', socket, writeThrough)];
  await withDaemon(args, socket, async (queues, daemon) => {
    let left = 50 + randomIntegers(seed)(200);
    let reached: () => void = () => undefined;
    const moment = new Promise<void>((resolve) => (reached = resolve));
    const counting = queues.map((queue): DurableQueue => ({
      request: async (type, sector, data) => {
        const status = await queue.request(type, sector, data);
        if (--left === 0) {
          daemon.child.kill('SIGKILL');
          reached();
        }
        return status;
      },
    }));
    load = makeLoad(counting, { requests: Infinity, writeThrough, position: () => 0 });
    // What is in flight then never completes.
    load.run().catch(() => undefined);
    await within(moment, 'the moment');
    expect(await daemon.ended()).toMatchObject({ signal: 'SIGKILL' });
  });
  return load!;
}
