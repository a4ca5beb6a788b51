/**
 * Driver side, for tests of devices: ours and other people's.
 *
 * @packageDocumentation
 */
export * from './blk-driver.js';
export * from './guest-allocator.js';
export * from './handshake.js';
export * from '../virtqueue/driver-queue.js';
