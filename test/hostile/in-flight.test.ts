// Resets, detaches and changes of memory while requests are in flight, and disks that complete them twice, late or never.
import { VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_T_IN } from '@iothreads/core';
import { encodeU64, Request, SharedRegion, VhostUserFrontEnd } from '@iothreads/vhost-user/front-end';
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { NEXT, REGIONS, WRITE } from '../../packages/core/test/robustness/hostile-guest.js';
import { dataOf, headerOf, statusOf } from '../../packages/core/test/robustness/row.js';
import { Scratch } from '../../packages/storage-daemon/test/support/scratch.js';
import { guestMappings } from '../../packages/vhost-user/test/support/open-fds.js';
import { until } from '../support/within.js';
import { DaemonGuest } from './support/daemon-guest.js';
import { FileGate } from './support/file-gate.js';
import { HostileDaemon } from './support/hostile-daemon.js';
import type { HostileDisk } from './support/hostile-disk.js';

const DD = new Uint8Array(512).fill(0xdd);
const FAR = REGIONS.at(-1)!.guestAddress;

let daemon: HostileDaemon;
let gate: FileGate;
let disk: HostileDisk;
/** Another daemon, whose only guest waits for what never completes while its export is deleted. */
let patient: HostileDaemon;
let never: DaemonGuest;

beforeAll(async () => {
  const scratch = new Scratch();
  gate = new FileGate(scratch.file('gate'));
  daemon = await HostileDaemon.start(
    {
      once: { node: gate.node('once') },
      twice: { node: gate.node('twice') },
      late: { node: gate.node('late') },
      deleted: { node: gate.node('once') },
    },
    scratch,
  );
  disk = daemon.disk('once');
  // Half a minute of patience, while everything else is tested.
  patient = await HostileDaemon.start({ never: { node: gate.node('never') } });
  never = await DaemonGuest.connect(patient.disk('never'));
  await readAtGate(never);
  const qmp = await patient.qmp();
  qmp.send('{"execute": "block-export-del", "arguments": {"id": "never", "mode": "hard"}}');
});

afterAll(async () => {
  await never[Symbol.asyncDispose]();
  await patient[Symbol.asyncDispose]();
  await daemon[Symbol.asyncDispose]();
});

beforeEach(() => {
  gate.close();
});

/** A read of one sector that waits at the gate. */
async function readAtGate(guest: DaemonGuest, data: number = guest.data): Promise<void> {
  guest.writeHeader(VIRTIO_BLK_T_IN);
  guest.writeChain([headerOf(guest), { ...dataOf(guest, WRITE | NEXT), address: data }, statusOf(guest)]);
  guest.lie([0]);
  await gate.came(1);
}

/** Nothing has completed; the neighbour, on the same iothread, is served meanwhile. */
async function expectWaiting(guest: DaemonGuest): Promise<void> {
  for (let i = 0; i < 5; i++) await daemon.expectNeighbourServed();
  expect(guest.usedIdx).toBe(0);
  expect(guest.strayWrites()).toEqual([]);
}

function expectRead(guest: DaemonGuest, data: number = guest.data): void {
  expect(guest.usedIdx).toBe(1);
  expect(guest.statusByte).toBe(VIRTIO_BLK_S_OK);
  expect(guest.copyOf(data, 512)).toEqual(DD);
  expect(guest.strayWrites([guest.status, 1], [data, 512])).toEqual([]);
}

/** The next front end is served, and the process holds no memory but the neighbour's. */
async function expectUnharmed(which: HostileDisk = disk): Promise<void> {
  gate.open();
  await daemon.expectUnharmed(which);
  await until('all memory is unmapped', () => guestMappings(daemon.pid) === daemon.neighbourMappings);
}

/** What must not happen before everything in flight has completed. */
interface Change {
  readonly what: string;
  readonly change: (guest: DaemonGuest) => Promise<unknown>;
  /** Mappings that there are more of afterwards. */
  readonly mapped?: number;
}

const changes: readonly Change[] = [
  { what: 'a reset: GET_VRING_BASE', change: (guest) => guest.stop() },
  { what: 'disabling the ring', change: ({ frontEnd }) => frontEnd.setEnable(0, false) },
  { what: 'telling of the ring again', change: ({ frontEnd }) => frontEnd.startQueue(0, 1) },
  {
    what: 'other features: SET_FEATURES',
    change: ({ frontEnd: { requests, features } }) =>
      requests.tell(Request.SET_FEATURES, encodeU64(features)),
  },
  {
    what: 'other memory, without that of the request: SET_MEM_TABLE',
    change: ({ frontEnd }) => frontEnd.setMemTable(frontEnd.regions.slice(0, -1)),
    mapped: -1,
  },
  {
    what: 'more memory: ADD_MEM_REG',
    change: ({ frontEnd }) => {
      frontEnd.regions.push(new SharedRegion({ guestAddress: 2 ** 33, size: 65536 }));
      return frontEnd.addMemReg(frontEnd.regions.at(-1)!);
    },
    mapped: 1,
  },
  {
    what: 'less memory, without that of the request: REM_MEM_REG',
    change: ({ frontEnd }) => frontEnd.remMemReg(frontEnd.regions.at(-1)!),
    mapped: -1,
  },
];

test.each(changes)('$what waits for what is in flight', async ({ change, mapped = 0 }) => {
  {
    await using guest = await DaemonGuest.connect(disk, {}, { memorySlots: true });
    const mappings = guestMappings(daemon.pid);
    await readAtGate(guest, FAR);
    let over = false;
    const changed = change(guest).then(() => {
      over = true;
      return guest.usedIdx;
    });
    await expectWaiting(guest);
    expect(over).toBe(false);
    gate.open();
    expect(await changed).toBe(1);
    expectRead(guest, FAR);
    expect(guestMappings(daemon.pid)).toBe(mappings + mapped);
  }
  await expectUnharmed();
});

test('memory that was taken away is not written any more', async () => {
  {
    await using guest = await DaemonGuest.connect(disk, {}, { memorySlots: true });
    gate.open();
    await guest.frontEnd.remMemReg(guest.frontEnd.regions.at(-1)!);
    guest.writeHeader(VIRTIO_BLK_T_IN);
    guest.writeChain([headerOf(guest), { ...dataOf(guest, WRITE | NEXT), address: FAR }, statusOf(guest)]);
    expect(await guest.serve(0)).toEqual([{ head: 0, usedLength: 1 }]);
    expect(guest.statusByte).toBe(VIRTIO_BLK_S_IOERR);
    expect(guest.strayWrites([guest.status, 1])).toEqual([]);
  }
  await expectUnharmed();
});

test('a front end leaves: its memory stays mapped, and the next one waits, until all has completed', async () => {
  const mappings = guestMappings(daemon.pid);
  {
    await using guest = await DaemonGuest.connect(disk);
    await readAtGate(guest);
    await expectWaiting(guest);
  }
  let served = false;
  const next = VhostUserFrontEnd.connect(disk.socket).then((frontEnd) => {
    served = true;
    return frontEnd;
  });
  for (let i = 0; i < 5; i++) await daemon.expectNeighbourServed();
  expect(served).toBe(false);
  expect(guestMappings(daemon.pid)).toBe(mappings + REGIONS.length);
  gate.open();
  const frontEnd = await next;
  expect(guestMappings(daemon.pid)).toBe(mappings + 1);
  expect(await frontEnd.queues[0]!.read(0, 512)).toEqual(DD);
  await frontEnd.close();
  await expectUnharmed();
});

test('an export is deleted: its front end sees the connection end behind the last completion', async () => {
  using qmp = await daemon.qmp();
  const deleted = daemon.disk('deleted');
  {
    await using guest = await DaemonGuest.connect(deleted);
    await readAtGate(guest);
    let over = false;
    const deletion = qmp.execute('block-export-del', { id: 'deleted', mode: 'hard' });
    const ended = guest.frontEnd.requests.receive().then((message) => {
      over = true;
      return [message, guest.usedIdx];
    });
    await expectWaiting(guest);
    expect(over).toBe(false);
    gate.open();
    expect(await ended).toEqual([undefined, 1]);
    await deletion;
    expectRead(guest);
  }
  await expectUnharmed();
});

describe('a disk', () => {
  test.each(['twice', 'late'])(
    'that completes %s: the guest sees one completion, and no byte of a later one',
    async (how) => {
      const odd = daemon.disk(how);
      {
        await using guest = await DaemonGuest.connect(odd);
        await readAtGate(guest);
        gate.open();
        const read = { head: 0, usedLength: 513 };
        expect(await guest.completions(1)).toEqual([read]);
        await gate.went(1);
        await daemon.expectNeighbourServed();
        expectRead(guest);
        // The disk is good for another one.
        expect(await guest.serve(0)).toEqual([read]);
        expect(await guest.stop()).toBe(2);
        expect(guest.usedIdx).toBe(2);
      }
      await expectUnharmed(odd);
    },
  );

  test('that never completes is given up when its export is deleted, and its memory stays where it is', async () => {
    const told = "export 'never': device 'never': 1 requests were still in flight";
    await vi.waitUntil(() => patient.messages('error').join().includes(told), { timeout: 55_000 });
    expect(await never.frontEnd.requests.receive()).toBeUndefined();
    expect(never.usedIdx).toBe(0);
    expect(never.strayWrites()).toEqual([]);
    await patient.expectNeighbourServed();
    patient.expectAlive();
    expect(guestMappings(patient.pid)).toBe(patient.neighbourMappings + REGIONS.length);
  });
});
