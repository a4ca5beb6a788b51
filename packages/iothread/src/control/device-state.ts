import type { VirtioBlkState, VirtqueueState } from '@iothreads/core';
import * as v from 'valibot';
import { IOThreadError } from '../iothread-error.js';

/**
 * What of a device belongs into a snapshot of its machine, beside guest RAM, the registers and the disk's content. JSON-safe.
 * Made by `saveState` while the device is quiesced.
 */
export interface DeviceState {
  readonly version: 1;
  /** Capacity of the disk in 512-byte sectors: a restored device must have the same. */
  readonly capacitySectors: number;
  readonly virtio: VirtioBlkState;
  /** Where the driver's rings stand, one entry for each queue that runs. */
  readonly positions: readonly QueuePosition[];
}

/** Where the rings of a queue stand. */
export interface QueuePosition extends VirtqueueState {
  readonly index: number;
}

const Count = (most: number): v.GenericSchema<number> =>
  v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(most));

const StateSchema = v.strictObject({
  version: v.literal(1),
  capacitySectors: Count(Number.MAX_SAFE_INTEGER),
  // Looked at by the device itself.
  virtio: v.custom<VirtioBlkState>((input) => typeof input === 'object' && input !== null),
  positions: v.array(
    v.strictObject({ index: Count(65535), lastAvail: Count(0xffff), usedIdx: Count(0xffff) }),
  ),
});

/** @throws IOThreadError `ERR_STATE` naming what is wrong */
export function checkDeviceState(state: unknown): DeviceState {
  const result = v.safeParse(StateSchema, state, { abortEarly: true });
  if (result.success) return result.output;
  const issue = result.issues[0];
  const field = v.getDotPath(issue) ?? 'it';
  throw new IOThreadError(
    'ERR_STATE',
    `the saved state of a device can't be used: ${field}: ${issue.message}`,
  );
}
