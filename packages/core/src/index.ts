/**
 * The package's door. Everything behind it is pure: no thread, no timer, no module of Node.
 *
 * @packageDocumentation
 * @mergeModuleWith <project>
 */
export * from './virtio-error.js';
export * from './memory/guest-memory.js';
export * from './memory/memory-region.js';
export * from './memory/segment-list.js';
export * from './bounce/bounce-area.js';
export * from './bounce/bounce-queue.js';
export * from './bounce/bounced-memory.js';
export * from './bounce/moving-memory.js';
export type { QueueLayout } from './bounce/slot-layout.js';
export * from './virtqueue/split-ring.js';
export * from './virtqueue/descriptor-chain.js';
export * from './virtqueue/inflight-table.js';
export * from './virtqueue/virtqueue.js';
export * from './virtio/device-status.js';
export * from './virtio/features.js';
export * from './virtio/register-bank.js';
export * from './virtio/registered-device.js';
export type { TransportRegistersState } from './virtio/transport-registers.js';
export * from './virtio-mmio/mmio-layout.js';
export * from './virtio-mmio/virtio-mmio.js';
export type { MsixState } from './virtio-pci/msix-table.js';
export type { PciBar } from './virtio-pci/pci-config-space.js';
export type { PciInterruptsState } from './virtio-pci/pci-interrupts.js';
export * from './virtio-pci/pci-layout.js';
export * from './virtio-pci/virtio-pci.js';
export * from './virtio-blk/block-limits.js';
export * from './virtio-blk/block-request.js';
export * from './virtio-blk/config-space.js';
export * from './virtio-blk/constants.js';
export * from './virtio-blk/offered-features.js';
export * from './virtio-blk/request-parser.js';
export * from './virtio-blk/virtio-blk-device.js';
export type { VirtioBlkState } from './virtio-blk/virtio-blk-state.js';
export * from './dispatch/dispatch-policy.js';
export * from './dispatch/running-cost.js';
export * from './polling/polling-controller.js';
export * from './statistics/latency-histogram.js';
export * from './statistics/shared-counters.js';
