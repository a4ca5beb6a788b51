/** Bytes of an access. */
export type AccessWidth = 1 | 2 | 4;

/** The lowest 0 to 4 bytes of a word. Signed, so that no mask is ever allocated. */
const LOWEST_BYTES = [0, 0xff, 0xffff, 0xff_ffff, -1] as const;

/**
 * Little-endian registers as a guest sees them. An access may cover a part of a register, or several registers: each is read or
 * written once, with those of its bytes that the access covers. So whoever splits a guest's accesses, into bytes at the worst,
 * splits them as the guest may; where a write has an effect, it has it when it covers the register's lowest byte.
 *
 * Nothing that a guest does here is an exception.
 */
export abstract class RegisterBank {
  /** Bytes of the bank. What lies beyond reads as 0 and ignores writes. */
  readonly byteLength: number;

  constructor(byteLength: number) {
    this.byteLength = byteLength;
  }

  /** @returns an unsigned number of `width` bytes */
  read(offset: number, width: AccessWidth): number {
    let value = 0;
    for (let done = 0; done < width;) {
      const at = offset + done;
      if (!this.#holds(at)) {
        done++;
        continue;
      }
      const register = this.registerAt(at);
      const shift = 8 * (at - register);
      const bytes = Math.min(width - done, register + this.registerBytes(register) - at);
      const covered = LOWEST_BYTES[bytes]!;
      value |= ((this.readRegister(register, covered << shift) >>> shift) & covered) << (8 * done);
      done += bytes;
    }
    return value >>> 0;
  }

  /**
   * A write of 1, 2 or 4 bytes; ignored where there is nothing.
   * @param value its lowest `width` bytes count; signed or unsigned
   */
  write(offset: number, width: AccessWidth, value: number): void {
    for (let done = 0; done < width;) {
      const at = offset + done;
      if (!this.#holds(at)) {
        done++;
        continue;
      }
      const register = this.registerAt(at);
      const shift = 8 * (at - register);
      const bytes = Math.min(width - done, register + this.registerBytes(register) - at);
      const mask = LOWEST_BYTES[bytes]! << shift;
      this.writeRegister(register, ((value >>> (8 * done)) << shift) & mask, mask);
      done += bytes;
    }
  }

  /** An access of 8 bytes; lower half first. */
  read64(offset: number): bigint {
    const low = this.read(offset, 4);
    return BigInt(low) | (BigInt(this.read(offset + 4, 4)) << 32n);
  }

  /** An access of 8 bytes; lower half first. */
  write64(offset: number, value: bigint): void {
    this.write(offset, 4, Number(BigInt.asUintN(32, value)));
    this.write(offset + 4, 4, Number(BigInt.asUintN(32, value >> 32n)));
  }

  /** Offset of the register that the byte at `offset` belongs to; `offset` is one of the bank's. */
  protected abstract registerAt(offset: number): number;

  /** Bytes of the register at that offset: 1, 2 or 4. */
  protected abstract registerBytes(register: number): number;

  /** @param mask the bits that the access covers; others are dropped, and must not be lost if reading clears them */
  protected abstract readRegister(register: number, mask: number): number;

  /** @param value as a signed number, 0 outside of `mask` */
  protected abstract writeRegister(register: number, value: number, mask: number): void;

  #holds(offset: number): boolean {
    // Nothing negative, fractional or beyond 32 bits survives the shift as it is.
    return offset >>> 0 === offset && offset < this.byteLength;
  }
}

/** `before` with the bits of `mask` taken from `value`, unsigned. */
export const merged = (before: number, value: number, mask: number): number =>
  ((before & ~mask) | (value & mask)) >>> 0;

/** Whether a write covers its register's lowest byte, and so has the register's effect. */
export const coversLowestByte = (mask: number): boolean => (mask & 0xff) !== 0;
