/** @throws Error naming the first byte that is not what it should be */
export function differences(what: string, actual: Uint8Array, expected: Uint8Array): void {
  if (Buffer.compare(actual, expected) === 0) return;
  const at = expected.findIndex((byte, i) => byte !== actual[i]);
  const count = expected.reduce((sum, byte, i) => sum + (byte === actual[i] ? 0 : 1), 0);
  throw new Error(
    `${what}: ${count} bytes are wrong, the first at offset ${at} is ${actual[at]}, not ${expected[at]}`,
  );
}
