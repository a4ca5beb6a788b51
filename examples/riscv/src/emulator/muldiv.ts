/** The upper half of the product of two unsigned 32-bit numbers. */
export function multiplyHighUnsigned(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const middle = aHigh * bLow + ((aLow * bLow) >>> 16);
  const carried = aLow * bHigh + (middle & 0xffff);
  return aHigh * bHigh + (middle >>> 16) + (carried >>> 16);
}

/** The M extension: what `funct3` of two registers is. Division by zero and overflow have results, not traps. */
export function multiplyOrDivide(funct3: number, a: number, b: number): number {
  const unsignedA = a >>> 0;
  const unsignedB = b >>> 0;
  switch (funct3) {
    case 0: // mul
      return Math.imul(a, b);
    case 1: // mulh
      return multiplyHighUnsigned(unsignedA, unsignedB) - (a < 0 ? b : 0) - (b < 0 ? a : 0);
    case 2: // mulhsu
      return multiplyHighUnsigned(unsignedA, unsignedB) - (a < 0 ? b : 0);
    case 3: // mulhu
      return multiplyHighUnsigned(unsignedA, unsignedB);
    case 4: // div
      return b === 0 ? -1 : (a / b) | 0;
    case 5: // divu
      return b === 0 ? -1 : Math.floor(unsignedA / unsignedB);
    case 6: // rem
      return b === 0 ? a : a % b;
    default: // remu
      return b === 0 ? a : unsignedA % unsignedB;
  }
}
