import { availRingBytes, DESCRIPTOR_BYTES, usedRingBytes, type VirtqueueAddresses } from '@iothreads/core';
import { closeFd } from '@iothreads/linux';
import type { MemoryTable } from './memory-table.js';
import type { VringAddress } from './protocol/vring-payloads.js';

/** No descriptor: the ring is not kicked, its driver is not called. */
export const NO_FD = -1;

/** Offset of `idx` in the used ring. */
const USED_IDX = 2;

/** What a front end has said about one ring. It owns the descriptors that it was given. */
export class Vring {
  readonly index: number;
  size = 0;
  addresses: VringAddress | undefined;
  /** Index of the next avail entry to take. */
  lastAvail = 0;
  /** Heads that a paused device keeps while the ring is stopped for a change. */
  held: readonly number[] = [];
  /** undefined: the front end has not said; then rings of front ends without protocol features are enabled. */
  enabled: boolean | undefined;
  /** Its iothread has it. */
  running = false;
  /** It goes on where another back end was, and has not been started since that was said. */
  takesOver = false;
  /** It could not be started as it is: not tried again before something changes. */
  refused = false;
  /** undefined: it has not been started, or has been stopped since. */
  #kickFd: number | undefined;
  #callFd = NO_FD;
  #errFd = NO_FD;
  /** Call descriptors of before that its iothread may still use. */
  readonly #lingering: number[] = [];

  constructor(index: number) {
    this.index = index;
  }

  get kickFd(): number | undefined {
    return this.#kickFd;
  }

  get callFd(): number {
    return this.#callFd;
  }

  get errFd(): number {
    return this.#errFd;
  }

  /** Takes another kick descriptor; not while running. */
  setKick(fd: number | undefined): void {
    closeIfAny(this.#kickFd ?? NO_FD);
    this.#kickFd = fd;
  }

  /** Takes another call descriptor. @returns the one before, for whoever makes sure that it is not used any more */
  replaceCall(fd: number): number {
    const before = this.#callFd;
    this.#callFd = fd;
    return before;
  }

  /** Keeps a call descriptor of before open until the ring has stopped for good. */
  linger(fd: number): void {
    this.#lingering.push(fd);
  }

  /** Takes another descriptor for errors; not while running. */
  setErr(fd: number): void {
    closeIfAny(this.#errFd);
    this.#errFd = fd;
  }

  /** Whether everything has been said that it takes to serve it. */
  isComplete(enabledByDefault: boolean): boolean {
    return (
      this.#kickFd !== undefined &&
      this.size > 0 &&
      this.addresses !== undefined &&
      (this.enabled ?? enabledByDefault)
    );
  }

  /** Where it lies in guest-physical memory. @throws VhostUserError `ERR_PROTOCOL` when a part of it is not in memory */
  locate(memory: MemoryTable): VirtqueueAddresses {
    const { size, index } = this;
    const { descriptorTable, availRing, usedRing } = this.addresses!;
    const part = (name: string, address: number, byteLength: number): number =>
      memory.guestAddressOf(address, byteLength, `${name} of ring ${index}`);
    return {
      size,
      descriptorTable: part('descriptor table', descriptorTable, size * DESCRIPTOR_BYTES),
      availRing: part('avail ring', availRing, availRingBytes(size)),
      usedRing: part('used ring', usedRing, usedRingBytes(size)),
    };
  }

  /** The used ring's index, as memory has it. */
  usedIdx(memory: MemoryTable, { usedRing }: VirtqueueAddresses): number {
    return memory.readU16(usedRing + USED_IDX);
  }

  /** Not while running. */
  closeFds(): void {
    this.setKick(undefined);
    closeIfAny(this.replaceCall(NO_FD));
    this.setErr(NO_FD);
    for (const fd of this.#lingering.splice(0)) closeIfAny(fd);
  }
}

export function closeIfAny(fd: number): void {
  if (fd !== NO_FD) closeFd(fd);
}
