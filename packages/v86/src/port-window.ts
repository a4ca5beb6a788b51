import type { AccessWidth } from '@iothreads/core';
import type { IoPorts } from './emulator.js';

/** What is behind a BAR. */
export interface BarTarget {
  /** @returns an unsigned number */
  readBar(offset: number, width: AccessWidth): number;
  /** @param value its lowest `width` bytes count */
  writeBar(offset: number, width: AccessWidth, value: number): void;
}

/** One port: v86 tells nobody which one was written to, so each has an object of its own as `this`. */
interface BarPort {
  readonly target: BarTarget;
  readonly offset: number;
}

function read8(this: BarPort): number {
  return this.target.readBar(this.offset, 1);
}

function read16(this: BarPort): number {
  return this.target.readBar(this.offset, 2);
}

function read32(this: BarPort): number {
  return this.target.readBar(this.offset, 4) | 0;
}

function write8(this: BarPort, value: number): void {
  this.target.writeBar(this.offset, 1, value);
}

function write16(this: BarPort, value: number): void {
  this.target.writeBar(this.offset, 2, value);
}

function write32(this: BarPort, value: number): void {
  this.target.writeBar(this.offset, 4, value);
}

/** Where no device of v86's has ports before the BIOS gives them others; 16 bits of port numbers end where the search does. */
const FIRST_PORT = 0xe600;
const END_OF_PORTS = 0x1_0000;

/** @returns the first of `byteLength` ports that nobody uses, a multiple of it; undefined where there are none */
export function findFreePorts(io: IoPorts, byteLength: number): number | undefined {
  for (let base = FIRST_PORT; base + byteLength <= END_OF_PORTS; base += byteLength) {
    if (io.ports.slice(base, base + byteLength).every((port) => port.device === undefined)) return base;
  }
  return undefined;
}

/**
 * Shows an I/O BAR of a function at `byteLength` ports from `base` on.
 * @returns a function that takes it away, wherever the guest has moved it
 */
export function openPortWindow(io: IoPorts, base: number, byteLength: number, target: BarTarget): () => void {
  const mine = new Set<unknown>();
  for (let offset = 0; offset < byteLength; offset++) {
    const port: BarPort = { target, offset };
    mine.add(port);
    io.register_read(base + offset, port, read8, read16, read32);
    io.register_write(base + offset, port, write8, write16, write32);
  }
  return () => {
    for (const [number, { device }] of io.ports.entries()) {
      if (mine.has(device)) io.ports[number] = io.create_empty_entry();
    }
  };
}
