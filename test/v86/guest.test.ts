// Debian's i386 kernel in v86, with disks whose I/O runs in iothreads. One guest for all: a boot takes longer than all the rest.
import { type BlockDevice, IOThreadRuntime } from '@iothreads/iothread';
import { attachDisk, guestMemory, restoreSnapshot, saveSnapshot, type Snapshot } from '@iothreads/v86';
import {
  Guest,
  type GuestKit,
  type GuestOptions,
  loadGuestKit,
  whyNoGuest,
} from '@iothreads/bench/v86-guest';
import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { program } from '../guests/support/guest-kit.js';
import { createImage, faultsOf, readFileInImage, readImage, sha256 } from '../guests/support/image.js';
import { tinyProgram } from './support/tiny-program.js';

const DISK_BYTES = 32 << 20;
const MiB = 1 << 20;
/** Two generations of programs: the second is to find its memory where the first one's was. */
const PROGRAMS = 60;
const FIRST = 1;
const SECOND = 101;

const why = whyNoGuest();
if (why !== undefined) process.stderr.write(`test/v86: skipped: ${why}\n`);

/** A machine with two disks, `vda` with completions by pull and `vdb` by wake, which have one interrupt line. */
class Machine {
  readonly runtime = new IOThreadRuntime();
  readonly errors: unknown[] = [];
  vda!: BlockDevice;
  vdb!: BlockDevice;
  guest!: Guest;

  static async create(
    kit: GuestKit,
    images: readonly [string, string],
    options: GuestOptions = {},
  ): Promise<Machine> {
    const machine = new Machine();
    const { runtime } = machine;
    for (const id of ['iothread0', 'iothread1']) await runtime.addIOThread({ id });
    runtime.on('driverError', (_iothread, report) => machine.errors.push(report));
    const attach = async (emulator: Parameters<typeof guestMemory>[0]): Promise<void> => {
      const add = (id: string, filename: string, completion: 'pull' | 'wake'): Promise<BlockDevice> =>
        runtime.addDevice({
          id,
          iothread: 'iothread0',
          drive: { driver: 'file', filename },
          memory: guestMemory(emulator),
          completion,
        });
      machine.vda = await add('vda', images[0], 'pull');
      machine.vdb = await add('vdb', images[1], 'wake');
      attachDisk(emulator, machine.vda);
      attachDisk(emulator, machine.vdb);
    };
    machine.guest = await Guest.create(kit, { ...options, attach });
    return machine;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.guest[Symbol.asyncDispose]();
    await this.runtime.close();
  }
}

describe.skipIf(why !== undefined)('Linux in v86', { timeout: 400_000 }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'iothreads-v86-'));
  const images = ['a.img', 'b.img'].map((name) => join(directory, name)) as [string, string];
  const copies = ['a-copy.img', 'b-copy.img'].map((name) => join(directory, name)) as [string, string];
  let machine: Machine;
  let guest: Guest;
  let snapshot: Snapshot | undefined;

  beforeAll(async () => {
    for (const image of images) {
      createImage(image, DISK_BYTES);
      execFileSync(program('mke2fs'), ['-q', '-t', 'ext4', image]);
    }
    machine = await Machine.create(loadGuestKit(), images, {
      answers: {
        resize: async () => machine.vdb.resize(2 * DISK_BYTES),
        move: () => machine.runtime.moveDevice('vda', 'iothread1'),
        snapshot: async () => {
          snapshot = await saveSnapshot(guest.machine, async () => {
            for (const [i, image] of images.entries()) copyFileSync(image, copies[i]!);
          });
        },
      },
      files: Object.fromEntries(
        [FIRST, SECOND].flatMap((first) =>
          Array.from({ length: PROGRAMS }, (_, i) => [`tmp/p${first + i}`, tinyProgram(first + i)]),
        ),
      ),
    });
    ({ guest } = machine);
    await guest.start();
  }, 400_000);

  afterAll(async () => {
    await machine?.[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });

  test('finds its disks', async () => {
    const told = await guest.run(`
      result vda $(disk vda size)
      result vdb $(disk vdb size)
      result serial $(disk vda serial)
      result irqs "$(grep virtio /proc/interrupts | cut -d : -f 1 | tr -d ' \\n')"
    `);
    expect(told.number('vda')).toBe(DISK_BYTES / 512);
    expect(told.number('vdb')).toBe(DISK_BYTES / 512);
    expect(told.text('serial')).toBe('vda');
    // One line of /proc/interrupts: both are on it.
    expect(told.text('irqs')).toBe('11');
  });

  test('keeps a file system', async () => {
    const told = await guest.run(`
      mount -t ext4 /dev/vda /mnt
      dd if=/dev/urandom of=/mnt/file bs=64k count=64
      result written $(sum /mnt/file)
      forget
      result read $(sum /mnt/file)
      umount /mnt
      mount -t ext4 /dev/vda /mnt
      result remounted $(sum /mnt/file)
      umount /mnt
    `);
    expect(told.text('read')).toBe(told.text('written'));
    expect(told.text('remounted')).toBe(told.text('written'));
    expect(faultsOf(images[0])).toBe('');
    expect(sha256(readFileInImage(images[0], '/file'))).toBe(told.text('written'));
  });

  test('uses both disks at once, while one moves to another iothread', async () => {
    const told = await guest.run(`
      dd if=/dev/vda of=/dev/null bs=4k count=1500 iflag=direct & first=$!
      dd if=/dev/urandom of=/tmp/data bs=64k count=64
      dd if=/tmp/data of=/dev/vdb bs=64k seek=128 oflag=direct & second=$!
      ask move
      wait $first
      wait $second
      result written $(sum /tmp/data)
      rm /tmp/data
    `);
    expect(sha256(readImage(images[1], 8 * MiB, 4 * MiB))).toBe(told.text('written'));
    const placed = await machine.runtime.queryBlockStats();
    expect(placed.find(({ id }) => id === 'vda')?.iothreads).toEqual(['iothread1']);
    // vdb's file system is what was overwritten.
    execFileSync(program('mke2fs'), ['-q', '-F', '-t', 'ext4', images[1]]);
  });

  test('runs what it has read, not what was in that memory before', async () => {
    const told = await guest.run(`
      mount -t ext4 /dev/vda /mnt
      cp /tmp/p* /mnt
      for first in ${FIRST} ${SECOND}; do
        forget
        programs=$(seq $first $((first + ${PROGRAMS - 1})))
        for program in $programs; do cat /mnt/p$program >/dev/null; done
        for program in $programs; do
          status=0
          /mnt/p$program || status=$?
          [ $status = $program ] || result wrong "program $program left with $status"
        done
      done
      umount /mnt
    `);
    expect(told.get('wrong')).toBeUndefined();
  });

  test('hears that a disk has another size', async () => {
    const told = await guest.run(`
      ask resize
      for turn in $(seq 200); do
        [ $(disk vdb size) = ${(2 * DISK_BYTES) / 512} ] && break
        sleep 0.1
      done
      result size $(disk vdb size)
    `);
    expect(told.number('size')).toBe((2 * DISK_BYTES) / 512);
  });

  test('is saved in the middle of its work, and goes on in another machine', async () => {
    const told = await guest.run(`
      mount -t ext4 /dev/vda /mnt
      dd if=/dev/urandom of=/mnt/before bs=64k count=32
      result before $(sum /mnt/before)
      cp /mnt/before /mnt/after & copy=$!
      dd if=/dev/vdb of=/dev/null bs=4k count=1500 iflag=direct & reader=$!
      ask snapshot
      wait $copy
      wait $reader
      forget
      result after $(sum /mnt/after)
      umount /mnt
    `);
    expect(told.text('after')).toBe(told.text('before'));
    expect(faultsOf(images[0])).toBe('');
    await using other = await Machine.create(loadGuestKit(), copies);
    // What a test writes to a file and reads from one, as an embedder would.
    const { machine: state, disks } = snapshot!;
    await restoreSnapshot(other.guest.machine, { machine: state, disks: JSON.parse(JSON.stringify(disks)) });
    const again = await other.guest.goOn('ok');
    expect(again.text('after')).toBe(told.text('before'));
    expect(faultsOf(copies[0])).toBe('');
    expect(other.errors).toEqual([]);
  });

  test('shuts down', async () => {
    await guest.powerOff();
    expect(machine.vda.inFlight).toBe(0);
    expect(machine.errors).toEqual([]);
  });
});
