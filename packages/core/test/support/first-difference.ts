/** Index of the first byte in which two arrays of the same length differ, or -1. Much faster than `toEqual`. */
export function firstDifference(a: Uint8Array, b: Uint8Array): number {
  if (Buffer.compare(a, b) === 0) return -1;
  for (let i = 0; ; i++) {
    if (a[i] !== b[i]) return i;
  }
}
