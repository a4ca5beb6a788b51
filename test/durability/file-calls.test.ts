// Below the disk: what a flush, and a write in write-through mode, become in calls on the file.
import { VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_WRITE_ZEROES } from '@iothreads/core';
import type { FileDriveOptions } from '@iothreads/backends';
import { forceDispatch } from '@iothreads/iothread/testing';
import { expect, test } from 'vitest';
import { FileCalls } from '../support/file-calls.js';
import { createMemory, Guest, type Outcome } from '../support/guest.js';
import { within } from '../support/within.js';

const BLOCK = new Uint8Array(4096).fill(0x5a);
const ZEROES = new Uint8Array(new Uint32Array([128, 0, 8, 0]).buffer);

type Variant = readonly [name: string, options: Omit<FileDriveOptions, 'driver' | 'filename'>];
const variants: readonly Variant[] =
  process.platform === 'linux'
    ? [
        ['threads', { aio: 'threads' }],
        ['io_uring', { aio: 'io_uring' }],
        ['threads, direct', { aio: 'threads', cacheDirect: true }],
        ['io_uring, direct', { aio: 'io_uring', cacheDirect: true }],
      ]
    : [['threads', {}]];

async function startGuest(
  { runtime, filename }: FileCalls,
  options: Variant[1],
  mode: 'sync' | 'async',
): Promise<Guest> {
  await runtime.addIOThread({ id: 'io0' });
  const memory = createMemory();
  const drive = { driver: 'file', filename, ...options } as const;
  const device = await runtime.addDevice({ id: 'vda', iothread: 'io0', drive, memory });
  const guest = await Guest.start(device, memory);
  await forceDispatch(runtime, 'vda', mode);
  return guest;
}

/** Several requests at once. */
async function batch(
  guest: Guest,
  requests: readonly (readonly [number, number, Uint8Array])[],
): Promise<void> {
  const outcomes: Promise<Outcome>[] = requests.map((request) => guest.queue.add(...request));
  guest.queue.go();
  for (const { status } of await within(Promise.all(outcomes), 'the batch')) expect(status).toBe(0);
}

const writes = Array.from({ length: 8 }, (_, i) => [VIRTIO_BLK_T_OUT, i * 8, BLOCK] as const);
const zero = [VIRTIO_BLK_T_WRITE_ZEROES, 0, ZEROES] as const;
const count = (lines: readonly string[], line: string): number =>
  lines.filter((each) => each === line).length;

const cases = variants.flatMap(([name, options]) =>
  (['sync', 'async'] as const).map((mode) => ({ title: `${name}, ${mode}`, options, mode })),
);

test.each(cases)(
  '$title: a flush is one fdatasync after all that was written before, as is the one behind a durable write',
  async ({ options, mode }) => {
    await using calls = new FileCalls();
    const guest = await startGuest(calls, options, mode);
    let before = 0;
    const since = (): string[] => calls.lines.slice(before);

    for (let round = 0; round < 3; round++) {
      before = calls.lines.length;
      await batch(guest, [...writes, zero]);
      const written = since();
      // No flush that nobody asked for, and no write that is complete before it is done.
      expect(written.filter((line) => line.startsWith('flush'))).toEqual([]);
      expect(count(written, 'write')).toBeGreaterThanOrEqual(9);
      expect(count(written, 'writeEnd')).toBe(count(written, 'write'));
      await guest.queue.flush();
      expect(since().slice(written.length)).toEqual(['flush disk.img', 'flushEnd']);
    }

    before = calls.lines.length;
    for (let round = 1; round <= 3; round++) {
      await batch(guest, [...writes, [VIRTIO_BLK_T_FLUSH, 0, new Uint8Array()], ...writes]);
      expect([count(since(), 'flush disk.img'), count(since(), 'flushEnd')]).toEqual([round, round]);
    }

    before = calls.lines.length;
    guest.device.virtio.writeConfig(32, Uint8Array.of(0));
    await batch(guest, [...writes, zero]);
    expect(count(since(), 'flushEnd')).toBe(9);
    // At no place have more flushes begun than writes ended.
    let ended = 0;
    for (const line of since()) {
      if (line === 'writeEnd') ended++;
      if (line === 'flush disk.img') expect(ended--).toBeGreaterThan(0);
    }
  },
);
