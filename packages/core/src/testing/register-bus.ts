import type { AccessWidth } from '../virtio/register-bank.js';

/** The way from a driver to a range of registers: a `VirtioMmio`, or one BAR of a `VirtioPci`. */
export interface RegisterBus {
  /** @returns an unsigned number of `width` bytes */
  read(offset: number, width: AccessWidth): number;
  /** Writes an unsigned number of `width` bytes. */
  write(offset: number, width: AccessWidth, value: number): void;
}

/** A bus that splits every access into bytes, lowest first, as some emulators do. */
export function splitIntoBytes(bus: RegisterBus): RegisterBus {
  return {
    read(offset, width) {
      let value = 0;
      for (let i = 0; i < width; i++) value |= bus.read(offset + i, 1) << (8 * i);
      return value >>> 0;
    },
    write(offset, width, value) {
      for (let i = 0; i < width; i++) bus.write(offset + i, 1, (value >>> (8 * i)) & 0xff);
    },
  };
}
