import type { Pci } from './emulator.js';
import { V86Error } from './v86-error.js';

/** The host bridge and the ISA bridge come first; 32 slots there are. */
const FIRST_SLOT = 2;
const SLOTS = 32;

/**
 * Slots whose interrupt pin leads to one of the two later lines of the bus: v86's network adapters and its file system are on the
 * earlier ones.
 */
const PREFERRED = [0x0f, 0x10, 0x13, 0x14, 0x17, 0x18, 0x1b, 0x1c];

export const pciIdOf = (slot: number): number => slot << 3;

/** The ISA bridge leads the bus's four lines to the machine's, as its registers from here on say. Its bit 7: to none. */
const ISA_BRIDGE_SLOT = 1;
const PIRQ_ROUTES = 0x60;
const PIRQ_OFF = 0x80;

/**
 * Where pin A of a function leads: what a BIOS writes into its register Interrupt Line, where a guest without ACPI looks.
 * @returns a line of the machine's interrupt controller; 0 before a BIOS has set the bridge up
 */
export function interruptLineOf(bus: Pci, slot: number): number {
  const bridge = new Uint8Array(bus.device_spaces[pciIdOf(ISA_BRIDGE_SLOT)]!.buffer);
  const route = bridge[PIRQ_ROUTES + ((slot - 1) & 3)]!;
  return (route & PIRQ_OFF) === 0 ? route : 0;
}

/**
 * @param wanted a slot's number, or undefined for any
 * @throws V86Error `ERR_SLOT` when it is taken, or none is free
 */
export function chooseSlot(pci: Pci, wanted: number | undefined): number {
  const isFree = (slot: number): boolean => pci.devices[pciIdOf(slot)] === undefined;
  if (wanted !== undefined) {
    if (!Number.isInteger(wanted) || wanted < FIRST_SLOT || wanted >= SLOTS) {
      throw new V86Error('ERR_SLOT', `slot must be ${FIRST_SLOT} to ${SLOTS - 1}, got ${wanted}`);
    }
    if (!isFree(wanted)) throw new V86Error('ERR_SLOT', `slot ${wanted} is taken`);
    return wanted;
  }
  const others = Array.from({ length: SLOTS - FIRST_SLOT }, (_, i) => FIRST_SLOT + i);
  const slot = [...PREFERRED, ...others].find(isFree);
  if (slot === undefined) throw new V86Error('ERR_SLOT', 'no slot of the PCI bus is free');
  return slot;
}
