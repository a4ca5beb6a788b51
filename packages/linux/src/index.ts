// The only package that calls C. Each call says why it is safe: who owns the pointer, what keeps the memory alive.
export { addressOf, NativeBuffer } from './address-of.js';
export { blockDeviceSectorBytes, blockDeviceSizeBytes } from './block-device.js';
export { clearEventfd, createEventfd, signalEventfd } from './eventfd.js';
export { closeFd, setNonBlocking } from './file-descriptor.js';
export { lockedByOthers, lockShared, unlock } from './file-lock.js';
export {
  FALLOC_FL_KEEP_SIZE,
  FALLOC_FL_PUNCH_HOLE,
  FALLOC_FL_ZERO_RANGE,
  punchHole,
  zeroRange,
} from './file-space.js';
export { IoUring, type CompletionHandler, type RingFile } from './io-uring/io-uring.js';
export { buryRing, type RingRemains } from './io-uring/ring-remains.js';
export { IoVector, MAX_IO_VECTORS } from './io-vector.js';
export { LinuxError } from './linux-error.js';
export { createMemfd, type MemfdOptions } from './memfd.js';
export { MemoryMap, viewOf } from './memory-map.js';
export { readAt, readVectorAt, syncData, writeAt, writeVectorAt } from './positioned-io.js';
export { killWithParent, setNoNewPrivileges } from './process-control.js';
export { ReadableWatch } from './readable-watch.js';
export { createSocketPair } from './socket-pair.js';
export {
  acceptUnix,
  connectUnix,
  DEFAULT_BACKLOG,
  isListeningUnixSocket,
  listenUnix,
  MAX_SOCKET_PATH_BYTES,
  UnixMessenger,
  type ListenOptions,
  type Received,
} from './unix-socket.js';
export { findUser, type User } from './user.js';
export { waitReadable } from './wait-readable.js';
