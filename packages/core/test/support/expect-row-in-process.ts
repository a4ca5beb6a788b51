import { expect } from 'vitest';
import { DISKS } from '../robustness/disks.js';
import { expectRow, type Row } from '../robustness/row.js';
import type { BlockRig, RigOptions } from './block-rig.js';

/** A row of the tables, served in this thread: nothing else has reached the disk, and the queue goes on. */
export async function expectRowInProcess(
  Rig: new (options: RigOptions) => BlockRig,
  row: Row,
): Promise<void> {
  const rig = new Rig({ ...row.ring, disk: row.disk });
  await expectRow(rig, row);
  expect(rig.device.operations).toEqual(row.operations ?? []);
  expect(rig.broken).toBe(false);
  expect(rig.inFlight).toBe(0);
  const { readOnly, capacitySectors } = {
    readOnly: false,
    capacitySectors: 0,
    ...DISKS[row.disk ?? 'plain'],
  };
  // What the good request writes goes to the last of few sectors.
  if (!readOnly && capacitySectors === 0) expect(await rig.stillWorks()).toBe(true);
}
