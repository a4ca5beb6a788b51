/**
 * Where things are in the guest's address space: where QEMU's machine `virt` has them, so that programs for one run on the
 * other.
 */

export const FINISHER_BASE = 0x0010_0000;
export const PLIC_BASE = 0x0c00_0000;
export const UART_BASE = 0x1000_0000;
export const RAM_BASE = 0x8000_0000;

/** Places for virtio-mmio devices, one after the other; the first has interrupt 1, the second 2, and so on. */
export const VIRTIO_BASE = 0x1000_1000;
export const VIRTIO_SIZE = 0x1000;
export const VIRTIO_PLACES = 8;

/** How fast the time that guests read goes by. */
export const TIMEBASE_HZ = 10_000_000;
