// Malformed chains and requests, row by row, over a socket to a real daemon: the answer is the same as that of a device in this
// process, and nobody else notices anything.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { DISKS, type DiskName } from '../../packages/core/test/robustness/disks.js';
import { expectRow, type Row } from '../../packages/core/test/robustness/row.js';
import { CHAINS, REQUESTS } from '../../packages/core/test/robustness/tables.js';
import { DaemonGuest } from './support/daemon-guest.js';
import { HostileDaemon } from './support/hostile-daemon.js';

/** Every drive of the daemon that can be written can be zeroed. */
const LEFT_OUT: readonly DiskName[] = ['noWriteZeroes'];

const names = (Object.keys(DISKS) as DiskName[]).filter((name) => !LEFT_OUT.includes(name));
const isThere = ({ disk = 'plain' }: Row): boolean => !LEFT_OUT.includes(disk);

let daemon: HostileDaemon;

beforeAll(async () => {
  daemon = await HostileDaemon.startWithTables(names);
});

afterAll(() => daemon[Symbol.asyncDispose]());

async function check(row: Row): Promise<void> {
  const { disk: name = 'plain' } = row;
  const traits = { readOnly: false, ...DISKS[name] };
  const disk = daemon.disk(traits.serial);
  {
    await using guest = await DaemonGuest.connect(disk, row.ring);
    guest.meanwhile = () => daemon.expectNeighbourServed();
    await expectRow(guest, row);
    expect(guest.broken).toBe(false);
    const served = row.heads?.length ?? 1;
    expect(guest.usedIdx).toBe(served);
    if (name === 'plain') expect(await guest.stillWorks()).toBe(true);
    // Nothing comes late, and nothing comes twice.
    expect(await guest.stop()).toBe(guest.usedIdx);
  }
  await daemon.expectUnharmed(disk);
}

test('all rows but those that no disk of a daemon can have are here', () => {
  const rows = [...CHAINS, ...REQUESTS].flatMap(([, each]) => each);
  expect(rows.filter((row) => !isThere(row)).map(({ what }) => what)).toEqual([
    'a write-zeroes that is not offered',
  ]);
});

describe('ring', () => {
  describe.each(CHAINS)('%s', (_rule, rows) => {
    test.each(rows.filter(isThere))('$what', check);
  });
});

describe('request', () => {
  describe.each(REQUESTS)('%s', (_rule, rows) => {
    test.each(rows.filter(isThere))('$what', check);
  });
});
