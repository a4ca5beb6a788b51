import { type AccessWidth, type RegisteredDevice, VirtioPci, type VirtioPciState } from '@iothreads/core';
import type { AttachedDisk, AttachOptions, DiskDevice } from './attach-disk.js';
import type { Emulator } from './emulator.js';
import { Machine } from './machine.js';
import { chooseSlot, interruptLineOf, pciIdOf } from './pci-slot.js';
import { type BarTarget, findFreePorts, openPortWindow } from './port-window.js';
import { V86Error } from './v86-error.js';
import { WaitPolling } from './wait-polling.js';

const DEFAULT_POLL_MAX_NS = 100_000;
const DEFAULT_KICK_POLL_MAX_NS = 50_000;
/** In the configuration space, in words. */
const BAR0 = 4;
const BAR_IO = 1;
/** Its lowest byte is the line, 0 as yet. */
const INTERRUPT = 15;

/** A disk on an emulator's PCI bus: its registers at ports, its interrupt pin, and when its completions are looked for. */
export class DiskFunction implements AttachedDisk, BarTarget {
  readonly device: DiskDevice;
  readonly slot: number;
  /** In a guest that has halted. */
  readonly haltPolling: WaitPolling;
  /** Behind a doorbell. */
  readonly #kickPolling: WaitPolling;
  readonly #machine: Machine;
  readonly #pci: VirtioPci;
  readonly #closePorts: () => void;
  /** The level of the function's interrupt pin. */
  #interrupting = false;
  /** A doorbell rang in the access that is going on. */
  #kicked = false;

  /** @throws V86Error `ERR_EMULATOR`, `ERR_SLOT`; VirtioError `ERR_DEVICE_OPTION` for more than 32 queues */
  constructor(emulator: Emulator, device: DiskDevice, options: AttachOptions = {}) {
    const machine = Machine.of(emulator);
    const { io, devices } = machine.cpu;
    const bus = devices.pci!;
    this.slot = chooseSlot(bus, options.slot);
    this.device = device;
    this.haltPolling = new WaitPolling(options.pollMaxNs ?? DEFAULT_POLL_MAX_NS);
    this.#kickPolling = new WaitPolling(options.kickPollMaxNs ?? DEFAULT_KICK_POLL_MAX_NS);
    this.#machine = machine;
    const registered: RegisteredDevice = {
      virtio: device.virtio,
      kick: (index) => {
        this.#kicked = true;
        device.kick(index);
      },
      onInterrupt: (listener) => device.onInterrupt(listener),
    };
    this.#pci = new VirtioPci(
      registered,
      { setInterrupt: (level) => this.#setInterrupt(level) },
      { bar: 'io' },
    );

    const size = this.#pci.bars[0]!.byteLength;
    const base = findFreePorts(io, size);
    if (base === undefined) {
      this.#pci.close();
      throw new V86Error('ERR_SLOT', `no ${size} ports in a row are free`);
    }
    const space = new Uint32Array(this.#pci.configSpace().buffer);
    space[BAR0] = base | BAR_IO;
    space[INTERRUPT] = space[INTERRUPT]! | interruptLineOf(bus, this.slot);
    // The bus takes the BAR's ports as they are when the device is registered.
    this.#closePorts = openPortWindow(io, base, size, this);
    bus.register_device({
      pci_id: this.pciId,
      pci_space: [...new Uint8Array(space.buffer)],
      pci_bars: [{ size }],
      name: `virtio-blk ${device.id ?? ''}`,
    });
    machine.add(this);
  }

  get pciId(): number {
    return pciIdOf(this.slot);
  }

  get interrupting(): boolean {
    return this.#interrupting;
  }

  /** Whether the guest waits for something. */
  get inFlight(): boolean {
    return (this.device.inFlight ?? 0) > 0;
  }

  readBar(offset: number, width: AccessWidth): number {
    return this.#pci.readBar(0, offset, width);
  }

  writeBar(offset: number, width: AccessWidth, value: number): void {
    this.#pci.writeBar(0, offset, width, value);
    if (!this.#kicked) return;
    this.#kicked = false;
    this.#pollKicked();
  }

  /** Takes what has completed. */
  pull(): void {
    this.device.drain?.();
  }

  /** The thread is about to sleep: what completes next wakes it up, what has completed already is taken. */
  sleep(): void {
    this.haltPolling.giveUp();
    if (this.device.completion === 'pull' && this.device.arm?.() === true) this.pull();
  }

  /** The machine was reset. */
  reset(): void {
    this.#pci.reset();
  }

  saveRegisters(): VirtioPciState {
    return this.#pci.saveState();
  }

  /** @throws VirtioError `ERR_STATE` */
  restoreRegisters(state: unknown): void {
    this.#pci.restoreState(state);
  }

  detach(): void {
    if (!this.#machine.disks.has(this)) return;
    this.#pci.close();
    this.#machine.remove(this);
    this.#closePorts();
    const bus = this.#machine.cpu.devices.pci!;
    bus.devices[this.pciId] = undefined;
    bus.device_spaces[this.pciId] = undefined;
  }

  /** The guest hears of it. */
  completed(nowMs: number): void {
    this.haltPolling.end(nowMs);
    this.#kickPolling.end(nowMs);
  }

  /** In a write to a port interrupts can be raised. */
  #pollKicked(): void {
    const beganMs = performance.now();
    const endMs = beganMs + this.#kickPolling.begin(beganMs);
    for (let nowMs = beganMs; nowMs < endMs; nowMs = performance.now()) {
      this.pull();
      // Not every completion is one that the guest wants to hear of.
      if (!this.#interrupting && this.inFlight) continue;
      this.completed(nowMs);
      return;
    }
    this.#kickPolling.giveUp();
  }

  #setInterrupt(level: boolean): void {
    const bus = this.#machine.cpu.devices.pci!;
    this.#interrupting = level;
    if (level) {
      bus.raise_irq(this.pciId);
      return;
    }
    bus.lower_irq(this.pciId);
    this.#machine.raiseHighLines();
  }
}
