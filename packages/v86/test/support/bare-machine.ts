import { createRequire } from 'node:module';
import { join } from 'node:path';
import { V86 } from 'v86';
import type { Ports } from './ports-bus.js';

const WASM = join(createRequire(import.meta.url).resolve('v86'), '../v86.wasm');

/** What the tests look at in a machine; see `emulator.ts` for what these are. */
export interface BareCpu {
  readonly io: Ports & { readonly ports: { device: unknown }[] };
  readonly wasm_memory: { readonly buffer: ArrayBuffer; grow(pages: number): void };
  readonly mem8: { readonly byteOffset: number; readonly length: number };
  readonly in_hlt: Uint8Array;
  readonly devices: {
    readonly pci: {
      raise_irq(pciId: number): void;
      lower_irq(pciId: number): void;
      readonly devices: unknown[];
    };
  };
  jit_dirty_cache(start: number, end: number): void;
  run_hardware_timers(acpiEnabled: number, nowMs: number): number;
  reboot_internal(): void;
}

/** A machine without a BIOS or anything else to run. */
export class BareMachine {
  readonly emulator: V86;
  readonly cpu: BareCpu;

  private constructor(emulator: V86) {
    this.emulator = emulator;
    this.cpu = (emulator as unknown as { v86: { cpu: BareCpu } }).v86.cpu;
  }

  static async create(memoryBytes: number = 16 << 20): Promise<BareMachine> {
    const emulator = new V86({
      wasm_path: WASM,
      autostart: false,
      memory_size: memoryBytes,
      vga_memory_size: 1 << 20,
      disable_speaker: true,
      disable_keyboard: true,
      disable_mouse: true,
      net_device: { type: 'none' } as never,
    });
    await new Promise<void>((resolve) => emulator.add_listener('emulator-loaded', resolve));
    return new BareMachine(emulator);
  }

  /** What the main loop does after each stretch of instructions. */
  tick(): void {
    this.cpu.run_hardware_timers(0, performance.now());
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.emulator.destroy();
  }
}
