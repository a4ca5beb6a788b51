import type { BouncedMemory } from '@iothreads/core';
import { cpuOf, type Emulator } from './emulator.js';

/** Between them the guest sees the VGA adapter's memory instead of RAM. */
const VGA_START = 0xa_0000;
const VGA_END = 0xc_0000;

/** How requests of a device are copied; see `BouncedMemory`. */
export type BounceOptions = Pick<BouncedMemory, 'slots' | 'slotBytes'>;

/**
 * A loaded emulator's RAM, as a device's option `memory`: no iothread can reach it, requests are copied.
 * @throws V86Error `ERR_EMULATOR`
 */
export function guestMemory(emulator: Emulator, options: BounceOptions = {}): BouncedMemory {
  const cpu = cpuOf(emulator);
  const { byteOffset, length } = cpu.mem8;
  return {
    ...options,
    // It grows, and is another buffer then; guest RAM stays where it is in it.
    buffer: () => cpu.wasm_memory.buffer,
    regions: [
      { guestAddress: 0, byteOffset, size: VGA_START },
      { guestAddress: VGA_END, byteOffset: byteOffset + VGA_END, size: length - VGA_END },
    ],
    markDirty: (guestAddress, byteLength) => {
      cpu.jit_dirty_cache(guestAddress, guestAddress + byteLength);
    },
  };
}
