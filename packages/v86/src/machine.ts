import type { DiskFunction } from './disk-function.js';
import { type Cpu, cpuOf, type Emulator } from './emulator.js';

const machines = new WeakMap<Cpu, Machine>();

/**
 * What the disks of one emulator have in common: the moment at which they are served, and the interrupt lines that they share.
 *
 * v86 looks at its timers after each stretch of instructions and when the guest halts, and looks for interrupts right behind that. In
 * between no compiled code is running: a moment to write guest RAM, and the soonest at which an interrupt can matter.
 */
export class Machine {
  readonly cpu: Cpu;
  readonly #disks = new Set<DiskFunction>();

  private constructor(cpu: Cpu) {
    this.cpu = cpu;
    const runTimers = cpu.run_hardware_timers.bind(cpu);
    cpu.run_hardware_timers = (acpiEnabled, nowMs) => {
      const sleepMs = runTimers(acpiEnabled, nowMs);
      this.#serve(nowMs, sleepMs);
      return sleepMs;
    };
    const reboot = cpu.reboot_internal.bind(cpu);
    cpu.reboot_internal = () => {
      for (const disk of this.#disks) disk.reset();
      reboot();
    };
  }

  /** @throws V86Error `ERR_EMULATOR` */
  static of(emulator: Emulator): Machine {
    const cpu = cpuOf(emulator);
    let machine = machines.get(cpu);
    if (machine === undefined) {
      machine = new Machine(cpu);
      machines.set(cpu, machine);
    }
    return machine;
  }

  get disks(): ReadonlySet<DiskFunction> {
    return this.#disks;
  }

  add(disk: DiskFunction): void {
    this.#disks.add(disk);
  }

  remove(disk: DiskFunction): void {
    this.#disks.delete(disk);
  }

  /** Raises again what v86 has lowered for all who share a line, because one of them wanted it low. */
  raiseHighLines(): void {
    for (const disk of this.#disks) if (disk.interrupting) this.cpu.devices.pci!.raise_irq(disk.pciId);
  }

  #serve(nowMs: number, sleepMs: number): void {
    let pollMs = -1;
    for (const disk of this.#disks) {
      disk.pull();
      if (disk.inFlight) pollMs = 0;
    }
    if (this.#interrupted(nowMs) || pollMs === -1 || this.cpu.in_hlt[0] === 0) return;
    for (const disk of this.#disks)
      if (disk.inFlight) pollMs = Math.max(pollMs, disk.haltPolling.begin(nowMs));
    if (pollMs > 0 && this.#pollHalted(nowMs + Math.min(pollMs, sleepMs))) return;
    for (const disk of this.#disks) disk.sleep();
  }

  /** @returns whether a disk interrupts; v86's own devices may have lowered a line that they share with it */
  #interrupted(nowMs: number): boolean {
    let interrupted = false;
    for (const disk of this.#disks) {
      if (!disk.interrupting) continue;
      interrupted = true;
      disk.completed(nowMs);
    }
    if (interrupted) this.raiseHighLines();
    return interrupted;
  }

  /**
   * The guest waits for an interrupt, and so may this thread: a look costs a fraction of what sleeping and being woken up would add.
   * @returns whether a disk interrupts
   */
  #pollHalted(endMs: number): boolean {
    let nowMs: number;
    do {
      nowMs = performance.now();
      for (const disk of this.#disks) disk.pull();
      if (this.#interrupted(nowMs)) return true;
    } while (nowMs < endMs);
    return false;
  }
}
