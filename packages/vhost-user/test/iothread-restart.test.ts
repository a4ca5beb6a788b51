// An iothread dies under its exports: their front ends are disconnected, connect again, and are served by another worker.
import { holdDrive, type DriveOptions } from '@iothreads/backends';
import { RING_IDX } from '@iothreads/core';
import type { IOThreadReport } from '@iothreads/iothread';
import type { VhostUserBlkExport } from '@iothreads/vhost-user';
import { VhostUserFrontEnd } from '@iothreads/vhost-user/front-end';
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { fixture } from '../../../test/support/fixture.js';
import { Gate } from '../../../test/support/gate.js';
import { until, within } from '../../../test/support/within.js';
import { closeRigs, ExportRig } from './support/export-rig.js';
import { guestMappings, openFds } from './support/open-fds.js';
import { expectBytes, pattern } from './support/pattern.js';

afterEach(closeRigs);

const SMALL = { memoryBytes: 1 << 20, queueSize: 16, dataBytes: 4096 } as const;
const DEADLY_SECTOR = 1000;

const mortal = (how: 'exit' | 'throw', options: object = {}): DriveOptions => ({
  driver: 'module',
  url: fixture('dying-disk.mjs'),
  options: { size: 1 << 20, how, deadly: DEADLY_SECTOR * 512, ...options },
});

const threads = (): number => readdirSync('/proc/self/task').length;

const restarted = async (rig: ExportRig): Promise<void> => {
  await within(once(rig.runtime, 'iothreadRestarted'), 'the restart of the iothread');
};

/** A second export on the same iothread. */
async function neighbour(
  rig: ExportRig,
  options: DriveOptions = { driver: 'memory', size: 1 << 20 },
): Promise<[path: string, server: VhostUserBlkExport]> {
  const drive = await holdDrive(options);
  const path = join(rig.directory, 'neighbour.sock');
  const address = { type: 'unix', path } as const;
  return [path, await rig.export({ id: 'neighbour', drive: drive.prepared, address })];
}

test.each(['exit', 'throw'] as const)(
  'by %s: both its exports are served again at the same paths',
  async (how) => {
    const rig = await ExportRig.start(mortal(how));
    const [path, server] = await neighbour(rig);
    await (await rig.connect(SMALL)).close();
    await until('nobody is connected', () => !rig.server.connected);
    const [fds, mappings] = [openFds(), guestMappings()];
    for (let death = 0; death < 3; death++) {
      const victim = await rig.connect(SMALL);
      const other = await VhostUserFrontEnd.connect(path, SMALL);
      for (let i = 0; i < 10; i++) await victim.queues[0]!.read(i, 512);
      if (death > 0) expectBytes(await other.queues[0]!.read(7, 512), pattern(512, death - 1));
      await other.queues[0]!.write(7, pattern(512, death));
      const again = restarted(rig);
      void victim.queues[0]!.read(DEADLY_SECTOR, 512);
      for (const frontEnd of [victim, other]) {
        expect(await within(frontEnd.requests.receive(), 'the end of the connection')).toBeUndefined();
        await frontEnd.close();
      }
      await until('nobody is connected', () => !rig.server.connected && !server.connected);
      await again;
      expect(guestMappings()).toBe(mappings);
      // Threads close what is their loops' when they end, after everybody has been told.
      await until(
        'everything is closed',
        () => openFds() === fds,
        () => `${openFds()} descriptors are open, ${fds} were before`,
      );
    }
    const [{ restarts, devices, syncAllowed }] = (await rig.runtime.queryIOThreads()) as [IOThreadReport];
    expect([restarts, devices.toSorted(), syncAllowed]).toEqual([3, ['disk', 'neighbour'], false]);
    const told = rig.messages('error');
    expect(new Set(told)).toEqual(
      new Set(['queues were lost with their iothread: connection closed, the front end can connect again']),
    );
    await server.close();
  },
);

/** A disk that dies when it is told to, with a read in flight. */
function mortalOnDemand(): { drive: DriveOptions; came: () => Promise<void>; die: () => void } {
  const signal = new SharedArrayBuffer(8);
  const words = new Int32Array(signal);
  return {
    drive: mortal('throw', { signal }),
    came: () => until('the deadly read', () => Atomics.load(words, 0) === 1),
    die: () => {
      Atomics.store(words, 1, 1);
      Atomics.notify(words, 1);
    },
  };
}

test('its rings stay as the death left them, and nobody is told where they stood', async () => {
  const { drive, came, die } = mortalOnDemand();
  const rig = await ExportRig.start(drive);
  const frontEnd = await rig.connect(SMALL);
  const queue = frontEnd.queues[0]!;
  for (let i = 0; i < 5; i++) await queue.read(i, 512);
  void queue.read(DEADLY_SECTOR, 512);
  await came();
  // It waits for the read when the worker dies.
  const base = frontEnd.getVringBase(0);
  die();
  await expect(base).rejects.toMatchObject({ code: 'ERR_DISCONNECTED' });
  await until('nobody is connected', () => !rig.server.connected);
  expect(queue.driver.queue.ring.used16[RING_IDX]).toBe(5);
  expect(queue.inFlight).toBe(1);
});

test('what its neighbours had in flight is done by the next worker', async () => {
  const rig = await ExportRig.start(mortal('throw'));
  const gate = new Gate();
  const [path, server] = await neighbour(rig, gate.drive());
  const frontEnd = await VhostUserFrontEnd.connect(path, SMALL);
  const [queue] = frontEnd.queues;
  const again = restarted(rig);
  const reads = Array.from({ length: 5 }, (_, sector) => queue!.read(sector, 512));
  await gate.came(5);
  const victim = await rig.connect(SMALL);
  void victim.queues[0]!.read(DEADLY_SECTOR, 512);
  await within(frontEnd.requests.receive(), 'the end of the connection');
  expect(queue!.driver.queue.ring.used16[RING_IDX]).toBe(0);
  await again;
  await frontEnd.reconnect(path);
  // Nobody had an answer: they are there once more.
  await gate.came(10);
  gate.open();
  for (const data of await Promise.all(reads)) expectBytes(data, new Uint8Array(512).fill(0xdd));
  expect(queue!.driver.queue.ring.used16[RING_IDX]).toBe(5);
  await frontEnd.close();
  await server.close();
});

test('guest memory stays mapped, and nobody is served, as long as a system call of the dead worker is under way', async () => {
  const rig = await ExportRig.start();
  const fifo = join(rig.directory, 'fifo');
  execFileSync('mkfifo', [fifo]);
  await rig.renew({ drive: (await holdDrive(mortal('throw', { fifo }))).prepared, drainTimeoutMs: 20 });
  const before = guestMappings();
  const frontEnd = await rig.connect(SMALL);
  const workers = threads();
  const again = restarted(rig);
  void frontEnd.queues[0]!.read(DEADLY_SECTOR, 512);
  await until(
    'told of',
    () => rig.messages('error').filter((line) => line.includes('waiting on')).length >= 3,
  );
  expect(rig.messages('error').find((line) => line.includes('waiting on'))).toBe(
    "device 'disk': iothread 'iothread0' has died, and what its worker had under way may not have ended after 20 ms: waiting on",
  );
  // The front end's own mapping, and the back end's.
  expect(guestMappings()).toBe(before + 2);
  expect(rig.server.connected).toBe(true);
  writeFileSync(fifo, 'x');
  await again;
  await until('nobody is connected', () => !rig.server.connected);
  expect(guestMappings()).toBe(before + 1);
  await frontEnd.close();
  await (await rig.connect(SMALL)).queues[0]!.read(0, 512);
  // One worker in the dead one's place, not two.
  await until(
    'as many threads as before',
    () => threads() === workers,
    () => `${threads()} threads, ${workers} before`,
  );
});

test('one of two iothreads dies, with the other one busy: memory goes when that one has stopped as well', async () => {
  const { drive, came, die } = mortalOnDemand();
  const rig = await ExportRig.start();
  const held = await holdDrive(drive);
  await rig.renew({ drive: held.prepared, iothreads: ['iothread0', 'iothread1'], numQueues: 2 });
  const before = guestMappings();
  const frontEnd = await rig.connect({ ...SMALL, numQueues: 2 });
  const [dying, living] = frontEnd.queues;
  let served = 0;
  const load = async (): Promise<never> => {
    for (;;) {
      await living!.read(served % 100, 512);
      served++;
    }
  };
  void load().catch(() => undefined);
  await until('a load', () => served > 20);
  const again = restarted(rig);
  void dying!.read(DEADLY_SECTOR, 512);
  await came();
  // Of all rings it is the dying one alone that is to stop.
  void frontEnd.getVringBase(0).catch(() => undefined);
  die();
  await until('nobody is connected', () => !rig.server.connected);
  expect(guestMappings()).toBe(before + 1);
  await frontEnd.close();
  await again;
  const next = await rig.connect({ ...SMALL, numQueues: 2 });
  for (const queue of next.queues) await queue.read(0, 512);
});
