import { attachDisk, guestMemory } from '@iothreads/v86';
import { expect, test } from 'vitest';
import { createImage, readImage } from '../../guests/support/image.js';
import { totals } from '../../support/statistics.js';
import { codePages } from '../support/code-on-disk.js';
import type { Scene } from '../support/scene.js';

/** Of code. */
const PAGES = 40;

export function machines(scene: () => Scene): void {
  test('has its disks when it boots', () => {
    const { booted } = scene().guest;
    expect(booted.text('vda')).toBe('2048 vda');
    expect(booted.text('vdb')).toBe('2048 vdb');
    // One line of /proc/interrupts: both are on it.
    expect(booted.text('lines')).toBe('11');
  });

  test('loses disks that are taken away', () => {
    expect(scene().guest.left.number('disks')).toBe(0);
  });

  // A disk that writes RAM and doesn't say so leaves what was compiled from the page before.
  test('runs the code that it reads, not what was in that page before', async () => {
    const buffer = new SharedArrayBuffer(PAGES * 4096);
    new Uint8Array(buffer).set(codePages(PAGES));
    await using machine = await scene().machine({
      disks: [{ id: 'vda', drive: { driver: 'memory', buffer }, completion: 'pull' }],
    });
    const told = await machine.guest.run('status=0; /tmp/read-code || status=$?; result status $status');
    expect(told.number('status')).toBe(0);
    expect(await totals(machine.runtime, 'vda')).toMatchObject({ errors: 0 });
  });

  test('is powered off, and its disk serves the next one', async () => {
    const filename = createImage(scene().path('disk.img'), 1 << 20);
    const drive = { driver: 'file', filename } as const;
    await using machine = await scene().machine({ disks: [{ id: 'vda', drive }] });
    const script = 'echo first | dd of=/dev/vda bs=512 seek=2 conv=sync oflag=direct';
    await machine.guest.run(script);
    await machine.guest.powerOff();
    expect(machine.disk('vda').inFlight).toBe(0);
    expect(readImage(filename, 1024, 6).toString()).toBe('first\n');
    const { runtime } = machine;
    await runtime.removeDevice('vda');
    await using next = await scene().guest.copy({
      attach: async (emulator) => {
        const memory = guestMemory(emulator);
        attachDisk(emulator, await runtime.addDevice({ id: 'next', iothread: 'iothread0', drive, memory }));
      },
    });
    const told = await next.run('result read "$(dd if=/dev/vda bs=512 skip=2 count=1 | head -n 1)"');
    expect(told.text('read')).toBe('first');
    expect(machine.errors).toEqual([]);
  });
}
