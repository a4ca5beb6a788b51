import type { BlockLimits } from '@iothreads/core';

/** A disk of the tables; the serial number tells them apart. */
export interface DiskTraits extends Partial<Omit<BlockLimits, 'serial'>> {
  readonly serial: string;
}

/** The disks of the tables. All are alike but for what is said here. */
export const DISKS = {
  plain: { serial: 'rig-0' },
  readOnly: { serial: 'rig-1', readOnly: true },
  noDiscard: { serial: 'rig-2', discard: false },
  noWriteZeroes: { serial: 'rig-3', writeZeroes: false },
  huge: { serial: 'rig-4', capacitySectors: 2 ** 40 },
  longSerial: { serial: 'abcdefghijklmnopqrst' },
  tooLongSerial: { serial: 'abcdefghijklmnopqrstuvw' },
} as const satisfies Record<string, DiskTraits>;

export type DiskName = keyof typeof DISKS;
