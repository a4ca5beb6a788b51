import { protocolError } from '../vhost-user-error.js';
import { viewOfBytes } from './integers.js';

/** "Virtio device config space": offset u32 @0, size u32 @4, flags u32 @8, then the bytes. */
export interface ConfigAccess {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

const CONFIG_HEADER_BYTES = 12;
/** Largest configuration space that the protocol knows. */
export const MAX_CONFIG_BYTES = 256;

/**
 * Payload of GET_CONFIG and SET_CONFIG. A question may leave out the bytes that it asks for.
 * @throws VhostUserError `ERR_PROTOCOL` when it is cut off, or reaches beyond 256 bytes
 */
export function decodeConfigAccess(payload: Uint8Array, question = false): ConfigAccess {
  if (payload.length < CONFIG_HEADER_BYTES) throw protocolError('access to the configuration is cut off');
  const view = viewOfBytes(payload);
  const offset = view.getUint32(0, true);
  const size = view.getUint32(4, true);
  if (size > MAX_CONFIG_BYTES || offset > MAX_CONFIG_BYTES - size) {
    throw protocolError(
      `${size} bytes of the configuration at ${offset} reach beyond its ${MAX_CONFIG_BYTES} bytes`,
    );
  }
  const bytes = payload.subarray(CONFIG_HEADER_BYTES);
  if (question && bytes.length === 0) return { offset, bytes: new Uint8Array(size) };
  if (bytes.length !== size) {
    throw protocolError(`access to ${size} bytes of the configuration carries ${bytes.length}`);
  }
  return { offset, bytes };
}

/** Payload of GET_CONFIG and SET_CONFIG, and of the answer. */
export function encodeConfigAccess({ offset, bytes }: ConfigAccess): Uint8Array {
  const payload = new Uint8Array(CONFIG_HEADER_BYTES + bytes.length);
  const view = viewOfBytes(payload);
  view.setUint32(0, offset, true);
  view.setUint32(4, bytes.length, true);
  payload.set(bytes, CONFIG_HEADER_BYTES);
  return payload;
}
