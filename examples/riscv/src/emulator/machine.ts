import { type MemoryRegionOptions, type RegisteredDevice, VirtioMmio } from '@iothreads/core';
import { setImmediate } from 'node:timers/promises';
import { Bus } from './bus.js';
import { Cpu } from './cpu.js';
import { Finisher } from './finisher.js';
import {
  FINISHER_BASE,
  PLIC_BASE,
  RAM_BASE,
  UART_BASE,
  VIRTIO_BASE,
  VIRTIO_PLACES,
  VIRTIO_SIZE,
} from './memory-map.js';
import { Plic, PLIC_SIZE } from './plic.js';
import { Uart } from './uart.js';

const RAM_BYTES = 1 << 20;
/** Instructions between two turns of Node.js's event loop: some hundred microseconds. */
const SLICE = 10_000;

/** What `run` answers when somebody switched the machine off. */
export const POWERED_OFF = -1;

/** A RISC-V machine: a processor, RAM, a UART that prints, and places for disks. */
export class Machine {
  readonly #bus = new Bus(RAM_BYTES);
  readonly #cpu = new Cpu(this.#bus);
  readonly #plic = new Plic((level) => {
    this.#setInterrupt(level);
  });
  readonly #disks: VirtioMmio[] = [];
  #exitCode: number | undefined;
  /** Ends the wait for an interrupt. */
  #wake: () => void = () => undefined;

  /** @param print gets what the guest prints */
  constructor(print: (text: string) => void) {
    this.#bus.map(UART_BASE, 0x100, new Uart(print));
    this.#bus.map(PLIC_BASE, PLIC_SIZE, this.#plic);
    this.#bus.map(
      FINISHER_BASE,
      4,
      new Finisher((code) => {
        this.#exit(code);
      }),
    );
    // Places without a disk are there too: their device id is 0, "nothing here".
    this.#bus.map(VIRTIO_BASE, VIRTIO_SIZE * VIRTIO_PLACES, {
      read: (offset, width) =>
        this.#disks[Math.floor(offset / VIRTIO_SIZE)]?.read(offset % VIRTIO_SIZE, width) ?? 0,
      write: (offset, width, value) => {
        this.#disks[Math.floor(offset / VIRTIO_SIZE)]?.write(offset % VIRTIO_SIZE, width, value);
      },
    });
  }

  /** Puts a program at the beginning of RAM, where the processor starts. @throws RangeError when it is too large */
  load(program: Uint8Array): void {
    new Uint8Array(this.#bus.ram).set(program);
  }

  /** Guest RAM as devices are told of it. */
  get memory(): readonly MemoryRegionOptions[] {
    return [{ guestAddress: RAM_BASE, buffer: this.#bus.ram }];
  }

  /** Puts a disk into the next free place. @throws RangeError when there is none */
  addDisk(device: RegisteredDevice): void {
    if (this.#disks.length === VIRTIO_PLACES)
      throw new RangeError(`the machine has ${VIRTIO_PLACES} disks already`);
    const interrupt = this.#disks.length + 1;
    this.#disks.push(
      new VirtioMmio(device, {
        setInterrupt: (level) => {
          this.#plic.setLevel(interrupt, level);
        },
      }),
    );
  }

  /**
   * Runs the guest to its end.
   *
   * It runs in slices: between them Node.js has its turn, since starting and resetting a disk takes messages to its iothread,
   * and interrupts come as promises. Requests themselves need none of that.
   * @returns the guest's exit code, 0 when all went well; `POWERED_OFF` when it did not come to that
   * @throws Error when the guest faults and has no trap handler
   */
  async run(): Promise<number> {
    try {
      while (this.#exitCode === undefined) {
        this.#cpu.run(SLICE);
        if (this.#cpu.state === 'waiting') await this.#interrupt();
        else await setImmediate();
      }
      return this.#exitCode;
    } finally {
      for (const disk of this.#disks) disk.close();
    }
  }

  get isOn(): boolean {
    return this.#exitCode === undefined;
  }

  /** Ends a guest that does not end by itself. */
  powerOff(): void {
    this.#exit(POWERED_OFF);
    this.#wake();
  }

  #exit(code: number): void {
    this.#exitCode ??= code;
    this.#cpu.state = 'stopped';
  }

  /** Resolves at the next interrupt: a guest that waits costs nothing. */
  #interrupt(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  #setInterrupt(level: boolean): void {
    this.#cpu.setInterrupt(level);
    if (this.#cpu.state === 'running') this.#wake();
  }
}
