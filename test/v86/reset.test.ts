// A machine that boots from a disk, and is reset by what it has booted: all through the BIOS's driver.
import { Guest, type GuestOptions, loadGuestKit, whyNoGuest } from '@iothreads/bench/v86-guest';
import { expect, test } from 'vitest';
import { countingBootSector } from './support/boot-sector.js';
import { Machine } from './support/machine.js';
import { TIMEOUT_MS } from './support/scene.js';

const TURNS = 5;
/** With a kernel the machine would boot that; v86's types don't know that an option may be undefined. */
const NO_KERNEL = { bzimage: undefined, initrd: undefined, cmdline: undefined } as unknown as NonNullable<
  GuestOptions['machine']
>;

test.skipIf(whyNoGuest() !== undefined).each(['pull', 'wake'] as const)(
  'a machine boots from its disk again and again, completions by %s',
  async (completion) => {
    const buffer = new SharedArrayBuffer(1 << 20);
    const bytes = new Uint8Array(buffer);
    bytes.set(countingBootSector(TURNS));
    let booted = 0;
    await using machine = await Machine.create((options) => Guest.create(loadGuestKit(), options), {
      machine: NO_KERNEL,
      onTold: () => {
        booted += 1;
      },
      disks: [
        { id: 'vda', drive: { driver: 'memory', buffer }, completion },
        { id: 'vdb', drive: { driver: 'memory', size: 1 << 20 }, completion },
      ],
    });
    await machine.guest.start();
    expect(booted).toBe(TURNS);
    expect(bytes[512]).toBe(TURNS);
    expect(machine.disk('vda').inFlight).toBe(0);
    expect(machine.errors).toEqual([]);
  },
  TIMEOUT_MS,
);
