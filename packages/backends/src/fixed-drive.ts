import { BlockDriverError } from './block-driver.js';
import type { HeldDrive, PreparedDrive } from './block-driver-type.js';

/** Holds a disk that needs no holding, and has its size for good. `name` is what error messages call it. */
export function fixedDrive<Prepared>(name: string, prepared: PreparedDrive<Prepared>): HeldDrive<Prepared> {
  return {
    prepared,
    notices: [],
    resize: async () => {
      throw new BlockDriverError('ENOTSUP', `${name}: its size can't be changed`);
    },
    close: async () => {},
  };
}
