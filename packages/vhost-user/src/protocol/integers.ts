import { protocolError } from '../vhost-user-error.js';

/** A DataView of the same bytes. */
export const viewOfBytes = (bytes: Uint8Array): DataView =>
  new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/** @throws VhostUserError `ERR_PROTOCOL` unless the payload has just that many bytes */
export function expectBytes(payload: Uint8Array, byteLength: number): DataView {
  if (payload.length !== byteLength) {
    throw protocolError(`payload has ${payload.length} bytes instead of ${byteLength}`);
  }
  return viewOfBytes(payload);
}

/** @throws VhostUserError `ERR_PROTOCOL` unless there is no payload */
export function expectEmpty(payload: Uint8Array): void {
  expectBytes(payload, 0);
}

/** A u64 that is a number from here on. @throws VhostUserError `ERR_PROTOCOL` when no number holds it exactly */
export function u64ToNumber(view: DataView, at: number, name: string): number {
  const high = view.getUint32(at + 4, true);
  const low = view.getUint32(at, true);
  if (high >= 0x20_0000) {
    const digits = (BigInt(high) * 0x1_0000_0000n + BigInt(low)).toString(16);
    throw protocolError(`${name} 0x${digits} is beyond 2^53`);
  }
  return high * 0x1_0000_0000 + low;
}

/** Writes a u64; the number must be an integer from 0 to 2^53 - 1. */
export function setU64(view: DataView, at: number, value: number): void {
  view.setBigUint64(at, BigInt(value), true);
}

/** A payload that is one u64: features, counts, acknowledgements. */
export const decodeU64 = (payload: Uint8Array): bigint => expectBytes(payload, 8).getBigUint64(0, true);

/** A payload that is one u64. */
export function encodeU64(value: bigint | number): Uint8Array {
  const payload = new Uint8Array(8);
  viewOfBytes(payload).setBigUint64(0, BigInt(value), true);
  return payload;
}
