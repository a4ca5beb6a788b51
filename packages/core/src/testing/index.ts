/**
 * Driver side, for tests of devices: ours and other people's.
 *
 * @packageDocumentation
 */
export * from './blk-driver.js';
export * from './guest-allocator.js';
export * from './handshake.js';
export * from './mmio-driver.js';
export * from './pci-driver.js';
export * from './register-bus.js';
export * from './register-driver.js';
export * from '../virtqueue/driver-queue.js';
