// The package's door. Everything here is pure: no thread, no timer, no module of Node.
export * from './virtio-error.js';
export * from './memory/guest-memory.js';
export * from './memory/memory-region.js';
export * from './memory/segment-list.js';
export * from './virtio-blk/block-request.js';
export * from './virtio-blk/constants.js';
