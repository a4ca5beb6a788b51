import { type BlockDevice, type DeviceOptions } from '@iothreads/iothread';
import type { BouncedMemory } from '@iothreads/core';
import type { Line } from './guest.js';

/**
 * Doorbells and interrupts as an emulator has them, on the thread that owns the device: by `kick` and `onInterrupt`, and where the
 * device is to be pulled, by a tick that goes on as long as somebody waits.
 */
export class MachineLine implements Line {
  readonly #pull: boolean;
  #device!: BlockDevice;
  readonly #counts = new Map<number, number>();
  #waiters: (() => void)[] = [];
  #ticking = false;

  constructor(device: BlockDevice, pull: boolean) {
    this.#pull = pull;
    this.plug(device);
  }

  /** The driver goes on with this device. */
  plug(device: BlockDevice): void {
    this.#device = device;
    device.onInterrupt((source) => {
      this.#counts.set(source, this.interrupts(source) + 1);
      const waiters = this.#waiters;
      this.#waiters = [];
      for (const wake of waiters) wake();
    });
  }

  kick(index: number): void {
    this.#device.kick(index);
  }

  interrupts(source: number): number {
    return this.#counts.get(source) ?? 0;
  }

  async interruptAfter(source: number, seen: number): Promise<void> {
    while (this.interrupts(source) === seen) {
      const interrupted = new Promise<void>((resolve) => this.#waiters.push(resolve));
      if (this.#pull && !this.#ticking) this.#tick();
      await interrupted;
    }
  }

  #tick(): void {
    this.#ticking = true;
    this.#device.drain();
    if (this.#waiters.length === 0) this.#ticking = false;
    else
      setImmediate(() => {
        this.#tick();
      });
  }
}

/** A way for a device and its guest to share memory and to hear of completions. */
export interface MachineMode {
  readonly name: string;
  readonly memory: 'shared' | 'bounced';
  readonly completion: 'wake' | 'pull';
}

/** All modes of memory and completion. */
export const MACHINE_MODES: readonly MachineMode[] = (['shared', 'bounced'] as const).flatMap((memory) =>
  (['wake', 'pull'] as const).map((completion) => ({
    name: `${memory} memory, completions by ${completion}`,
    memory,
    completion,
  })),
);

/** Guest RAM of a mode, and what a device is told about it. */
export function machineMemory(
  mode: MachineMode,
  bounce: Partial<BouncedMemory> = {},
): { ram: ArrayBuffer | SharedArrayBuffer; options: Pick<DeviceOptions, 'memory' | 'completion'> } {
  const { completion } = mode;
  if (mode.memory === 'shared') {
    const ram = new SharedArrayBuffer(4 << 20);
    return { ram, options: { memory: ram, completion } };
  }
  const ram = new ArrayBuffer(4 << 20);
  return { ram, options: { memory: { buffer: () => ram, ...bounce }, completion } };
}
