/**
 * What we use of v86 0.5.462, most of it undocumented. v86's build keeps the names of properties; `cpuOf` looks whether they are
 * still there.
 */
import { V86Error } from './v86-error.js';

/** An instance of `V86`, loaded: its event `emulator-loaded` has come. */
export interface Emulator {
  /** @internal */
  readonly v86?: { readonly cpu: Cpu };
  /** Whether the guest's processor works. */
  is_running(): boolean;
  /** Sets it to work. */
  run(): Promise<void>;
  /** Resolves when it stands still. */
  stop(): Promise<void>;
  /** The machine as it is now, without disks that v86 knows nothing of. */
  save_state(): Promise<ArrayBuffer>;
  /** Takes the machine back to what `save_state` gave. */
  restore_state(state: ArrayBuffer): Promise<void>;
}

/** The processor, and with it the machine. */
export interface Cpu {
  readonly wasm_memory: { readonly buffer: ArrayBuffer };
  /** Guest RAM. No array, but a proxy that makes one for each use: ask it for its place once, and for nothing else. */
  readonly mem8: { readonly byteOffset: number; readonly length: number };
  /** One byte, behind such a proxy: whether the guest waits for an interrupt. */
  readonly in_hlt: { readonly 0: number };
  readonly io: IoPorts;
  readonly devices: { readonly pci?: Pci };
  /** Forgets code that was compiled from guest RAM in `[start, end)`. */
  jit_dirty_cache(start: number, end: number): void;
  /**
   * Called from the main loop after each stretch of about 100,000 instructions, when the guest halts, and when it is woken up; the interrupts
   * that it raises are seen at once. Looked up on this object at each call.
   * @returns milliseconds until the next timer, for which a halted guest sleeps
   */
  run_hardware_timers(acpiEnabled: number, nowMs: number): number;
  /** Power was off and on. Looked up on this object at each call. */
  reboot_internal(): void;
}

/** A port's accesses of 1, 2 and 4 bytes, with `this` as it was registered. Of 4 bytes they are signed. */
export interface IoPorts {
  readonly ports: { device: unknown }[];
  create_empty_entry(): { device: unknown };
  register_read<T>(
    port: number,
    self: T,
    read8: (this: T) => number,
    read16: (this: T) => number,
    read32: (this: T) => number,
  ): void;
  register_write<T>(
    port: number,
    self: T,
    write8: (this: T, value: number) => void,
    write16: (this: T, value: number) => void,
    write32: (this: T, value: number) => void,
  ): void;
}

interface PciDevice {
  /** The slot's number times 8. */
  readonly pci_id: number;
  /** What the configuration space holds at first; v86 takes a copy and keeps it itself from then on. */
  readonly pci_space: readonly number[];
  /** Sizes in bytes. v86 takes the ports' entries from where the first contents say, and moves them when the guest does. */
  readonly pci_bars: readonly { readonly size: number }[];
  readonly name: string;
}

export interface Pci {
  /** By `pci_id`. */
  readonly devices: (PciDevice | undefined)[];
  /** Their configuration spaces, as the guest sees them: 64 words each. */
  readonly device_spaces: (Int32Array | undefined)[];
  register_device(device: PciDevice): void;
  raise_irq(pciId: number): void;
  /** Lowers a line for all who share it: lines aren't wired together. */
  lower_irq(pciId: number): void;
}

/** The methods whose names a new version of v86 could change. */
const METHODS_OF_CPU = ['jit_dirty_cache', 'run_hardware_timers', 'reboot_internal'] as const;
const METHODS_OF_IO = ['create_empty_entry', 'register_read', 'register_write'] as const;
const METHODS_OF_PCI = ['register_device', 'raise_irq', 'lower_irq'] as const;

function lacks<T extends object>(object: T, methods: readonly (keyof T)[]): string | undefined {
  return methods.find((name) => typeof object[name] !== 'function') as string | undefined;
}

/** @throws V86Error `ERR_EMULATOR` for one that isn't loaded yet, or that is of a version unlike the one we know */
export function cpuOf(emulator: Emulator): Cpu {
  const cpu = emulator.v86?.cpu;
  if (cpu?.io === undefined) {
    throw new V86Error('ERR_EMULATOR', "the emulator isn't loaded: wait for its event emulator-loaded");
  }
  const { pci } = cpu.devices;
  if (pci === undefined) throw new V86Error('ERR_EMULATOR', 'the emulator has no PCI bus');
  const lacking = lacks(cpu, METHODS_OF_CPU) ?? lacks(cpu.io, METHODS_OF_IO) ?? lacks(pci, METHODS_OF_PCI);
  if (lacking !== undefined || cpu.wasm_memory === undefined || cpu.in_hlt === undefined) {
    throw new V86Error('ERR_EMULATOR', `this version of v86 has no ${lacking ?? 'wasm_memory'}: use 0.5.462`);
  }
  return cpu;
}
