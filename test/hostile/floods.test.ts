// What is harmless once, thousands of times at a real daemon: nothing is left behind, and the log stays readable.
import { VIRTIO_BLK_S_IOERR, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT } from '@iothreads/core';
import { FrontEndRequests, VhostUserFrontEnd } from '@iothreads/vhost-user/front-end';
import { closeFd, connectUnix } from '@iothreads/linux';
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { NEXT, WRITE } from '../../packages/core/test/robustness/hostile-guest.js';
import { dataOf, headerOf, statusOf } from '../../packages/core/test/robustness/row.js';
import { guestMappings } from '../../packages/vhost-user/test/support/open-fds.js';
import { fixture } from '../support/fixture.js';
import { until } from '../support/within.js';
import { DaemonGuest } from './support/daemon-guest.js';
import { HostileDaemon } from './support/hostile-daemon.js';
import type { HostileDisk } from './support/hostile-disk.js';

let daemon: HostileDaemon;
let disk: HostileDisk;

beforeAll(async () => {
  daemon = await HostileDaemon.start({
    victim: {},
    throwing: { node: { driver: 'module', url: fixture('throwing-disk.mjs'), options: { size: 32768 } } },
  });
  disk = daemon.disk('victim');
});

afterAll(() => daemon[Symbol.asyncDispose]());

beforeEach(() => {
  daemon.forgetMessages();
});

/** Resident memory, MiB. */
function residentMiB(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(line![1]) / 1024;
}

describe('connections leave nothing behind', () => {
  /** So many come and go; some leave with requests in flight, some in the middle of a message. */
  async function comeAndGo(count: number): Promise<void> {
    for (let i = 0; i < count; i++) {
      const frontEnd = await VhostUserFrontEnd.connect(disk.socket, {
        memoryBytes: 1 << 20,
        queueSize: 16,
        dataBytes: 4096,
        numQueues: 2,
        memorySlots: i % 2 === 0,
      });
      const [first, second] = frontEnd.queues;
      await first!.write(i % 32, new Uint8Array(4096).fill(i));
      expect((await second!.read(i % 32, 512))[0]).toBe(i & 0xff);
      if (i % 3 === 0) await frontEnd.getVringBase(0);
      if (i % 3 === 1) for (let k = 0; k < 4; k++) void first!.read(k, 4096);
      if (i % 4 === 3) frontEnd.requests.sendBytes(Uint8Array.of(1, 0, 0), [first!.kickFd]);
      await frontEnd.close();
      // Those that look whether somebody listens.
      closeFd(connectUnix(disk.socket));
    }
    await until('nobody but the neighbour', () => guestMappings(daemon.pid) === daemon.neighbourMappings);
  }

  test('two hundred, after some that warm it up', async () => {
    await comeAndGo(40);
    const { pid } = daemon;
    const fds = await daemon.restingFds(disk);
    const before = residentMiB(pid);
    await comeAndGo(200);
    await daemon.expectUnharmed(disk);
    expect(await daemon.restingFds(disk)).toBe(fds);
    // A megabyte of guest memory each would be two hundred.
    expect(residentMiB(pid) - before).toBeLessThan(64);
  });
});

/** Lines that may be told in the time that something took, at so many a second. */
const allowed = (startMs: number, aSecond: number): number =>
  aSecond * Math.ceil((performance.now() - startMs) / 1000 + 1);

describe('the log of a guest that errs thousands of times', () => {
  test('in its requests: nothing is told of these', async () => {
    {
      await using guest = await DaemonGuest.connect(disk, { queueSize: 32 });
      guest.writeHeader(VIRTIO_BLK_T_IN, 2n ** 64n - 1n);
      for (let head = 0; head < 8; head++) {
        guest.driver.writeDescriptor(3 * head, guest.header, 16, NEXT, 3 * head + 1);
        guest.driver.writeDescriptor(3 * head + 1, guest.data, 512, NEXT | WRITE, 3 * head + 2);
        guest.driver.writeDescriptor(3 * head + 2, guest.status, 1, WRITE);
      }
      const heads = Array.from({ length: 8 }, (_, head) => 3 * head);
      for (let i = 0; i < 500; i++) {
        for (const { usedLength } of await guest.serve(...heads)) expect(usedLength).toBe(1);
      }
      expect(guest.statusByte).toBe(VIRTIO_BLK_S_IOERR);
      expect(guest.strayWrites([guest.status, 1])).toEqual([]);
    }
    await daemon.expectUnharmed(disk);
    expect([...daemon.messages('warning'), ...daemon.messages('error')]).toEqual([]);
  });

  test('in its rings: a few lines a second', async () => {
    const startMs = performance.now();
    const BREAKS = 300;
    {
      await using guest = await DaemonGuest.connect(disk, {}, { numQueues: 2 });
      for (let i = 0; i < BREAKS; i++) {
        guest.lie([], 9);
        await until('the error eventfd', () => guest.broken);
        expect(await guest.stop()).toBe(0);
        await guest.startAnew(0);
      }
      expect(await guest.stillWorks()).toBe(true);
    }
    await daemon.expectUnharmed(disk);
    const told = daemon.messages('error');
    expect(told.length).toBeGreaterThan(0);
    expect(told.length).toBeLessThan(Math.min(BREAKS, allowed(startMs, 20)));
  });

  test('over a disk that fails: a few lines a second', async () => {
    const startMs = performance.now();
    const FAILURES = 1000;
    const throwing = daemon.disk('throwing');
    {
      await using guest = await DaemonGuest.connect(throwing);
      guest.writeHeader(VIRTIO_BLK_T_OUT, 1);
      guest.writeChain([headerOf(guest), dataOf(guest, NEXT), statusOf(guest)]);
      for (let i = 0; i < FAILURES; i++) expect(await guest.serve(0)).toEqual([{ head: 0, usedLength: 1 }]);
      expect(guest.statusByte).toBe(VIRTIO_BLK_S_IOERR);
    }
    const told = daemon.messages('error');
    expect(told.length).toBeGreaterThan(0);
    expect(told.length).toBeLessThan(Math.min(FAILURES, allowed(startMs, 10)));
    expect(told[0]).toContain('no writing here');
  });

  test('of connections that come and go: a few lines a second', async () => {
    const startMs = performance.now();
    const COME = 300;
    for (let i = 0; i < COME; i++) {
      const requests = FrontEndRequests.connect(disk.socket);
      requests.send(99, 0, new Uint8Array());
      expect(await requests.receive()).toBeUndefined();
      requests.close();
    }
    await daemon.expectUnharmed(disk);
    const told = [...daemon.messages('warning'), ...daemon.messages('info')];
    expect(told.length).toBeGreaterThan(0);
    expect(told.length).toBeLessThan(Math.min(COME, allowed(startMs, 10)));
  });
});
