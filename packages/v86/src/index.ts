// The package's door.
export { type AttachedDisk, attachDisk, type AttachOptions, type DiskDevice } from './attach-disk.js';
export type { Emulator } from './emulator.js';
export { type BounceOptions, guestMemory } from './guest-memory.js';
export { type DiskState, restoreSnapshot, saveSnapshot, type Snapshot } from './snapshot.js';
export { V86Error, type V86ErrorCode } from './v86-error.js';
