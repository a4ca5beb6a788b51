import { BlkDriver, GuestAllocator, PciDriver } from '@iothreads/core/testing';
import type { BareMachine } from './bare-machine.js';
import { portsBus } from './ports-bus.js';

const QUEUE_SIZE = 64;
const DEPTH = 8;
const BLOCK_BYTES = 4096;
/** Above the adapter's memory and the BIOS. */
const FREE_RAM = 0x10_0000;
const RAM_BYTES = 1 << 20;

/** A driver in a machine's guest, for the first queue of the disk in a slot: its rings are in guest RAM, its registers at ports. */
export class MachineDriver {
  readonly pci: PciDriver;
  readonly blk: BlkDriver;
  readonly #machine: BareMachine;

  /** @param place where in RAM it has its rings and buffers, one place for each driver */
  constructor(machine: BareMachine, slot: number, place = 0) {
    const { cpu } = machine;
    const guestAddress = FREE_RAM + place * RAM_BYTES;
    const allocator = new GuestAllocator([
      {
        guestAddress,
        buffer: cpu.wasm_memory.buffer,
        byteOffset: cpu.mem8.byteOffset + guestAddress,
        size: RAM_BYTES,
      },
    ]);
    this.#machine = machine;
    this.pci = new PciDriver(portsBus(cpu.io, slot));
    const addresses = allocator.allocateQueue(QUEUE_SIZE);
    this.pci.start([addresses]);
    this.blk = new BlkDriver(allocator, { addresses, depth: DEPTH, dataBytes: BLOCK_BYTES, eventIdx: true });
  }

  /**
   * Does a request and waits for its interrupt, as an operating system with nothing else to do.
   * @returns the slot
   */
  async request(type: number, sector: number, data?: Uint8Array): Promise<number> {
    const { blk, pci } = this;
    blk.queue.enableInterrupts();
    const slot = blk.takeSlot();
    if (data !== undefined) blk.data(slot).set(data);
    blk.start(slot, type, sector, BLOCK_BYTES);
    if (blk.publish()) pci.kick(0);
    await this.interrupt();
    if (blk.takeDone() !== slot) throw new Error('an interrupt came before the completion');
    return slot;
  }

  /** Waits for the queue's interrupt. */
  async interrupt(): Promise<void> {
    while (!this.pci.acknowledgeInterrupt().queue) {
      this.#machine.tick();
      await new Promise(setImmediate);
    }
  }
}
