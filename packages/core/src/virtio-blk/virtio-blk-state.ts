import { VirtioError } from '../virtio-error.js';
import type { VirtqueueAddresses } from '../virtqueue/split-ring.js';

/** What a driver has settled with a virtio-blk device, as a snapshot keeps it. JSON-safe. */
export interface VirtioBlkState {
  readonly version: 1;
  readonly numQueues: number;
  /** The status bits (virtio 1.3 section 2.1). */
  readonly status: number;
  /** A set of bits, hexadecimal: '0x…'. */
  readonly driverFeatures: string;
  readonly writeback: boolean;
  readonly configGeneration: number;
  /** Null where the driver has enabled none. */
  readonly queues: readonly (VirtqueueAddresses | null)[];
}

/**
 * A state may have been in a file for years: everything of it is looked at before anything is used.
 * @throws VirtioError `ERR_STATE` naming what is wrong
 */
export function checkState(state: VirtioBlkState): VirtioBlkState {
  if (typeof state !== 'object' || state === null) fail('must be an object');
  if (state.version !== 1) fail(`version must be 1, got ${String(state.version)}`);
  checkCount('numQueues', state.numQueues, 65535);
  checkCount('status', state.status, 0xff);
  checkCount('configGeneration', state.configGeneration, 0xffff_ffff);
  if (typeof state.driverFeatures !== 'string' || !/^0x[0-9a-f]{1,32}$/.test(state.driverFeatures)) {
    fail('driverFeatures must be a hexadecimal number, 0x…');
  }
  if (typeof state.writeback !== 'boolean') fail('writeback must be true or false');
  if (!Array.isArray(state.queues) || state.queues.length !== state.numQueues) {
    fail(`queues must have an entry for each of the ${state.numQueues} queues`);
  }
  for (const [index, queue] of state.queues.entries()) {
    if (queue === null) continue;
    if (typeof queue !== 'object') fail(`queues[${index}] must be an object or null`);
    for (const field of ['size', 'descriptorTable', 'availRing', 'usedRing'] as const) {
      // 64 bits, as a guest wrote them: whether they are good is looked at where a queue is started.
      checkCount(`queues[${index}].${field}`, queue[field], 2 ** 64);
    }
  }
  return state;
}

function checkCount(field: string, value: number, most: number): void {
  if (!Number.isInteger(value) || value < 0 || value > most) {
    fail(`${field} must be an integer from 0 to ${most}, got ${String(value)}`);
  }
}

function fail(problem: string): never {
  throw new VirtioError('ERR_STATE', `the saved state of a virtio-blk device can't be used: ${problem}`);
}
