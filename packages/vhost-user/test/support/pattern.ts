/** Bytes that tell where they belong and whose they are. */
export function pattern(byteLength: number, salt: number): Uint8Array {
  const bytes = new Uint8Array(byteLength);
  for (let i = 0; i < byteLength; i++) bytes[i] = (i * 31 + (i >>> 8) * 7 + salt) & 0xff;
  return bytes;
}

/** As `toEqual`, which takes its time over many bytes. */
export function expectBytes(actual: Uint8Array, expected: Uint8Array): void {
  if (Buffer.compare(actual, expected) === 0) return;
  const at = expected.findIndex((byte, i) => byte !== actual[i]);
  throw new Error(
    `${actual.length} bytes instead of ${expected.length}; byte ${at} is ${actual[at]} instead of ${expected[at]}`,
  );
}
