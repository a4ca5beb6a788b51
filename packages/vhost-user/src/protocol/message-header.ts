import { VhostUserError } from '../vhost-user-error.js';

/**
 * Header of every message (vhost-user, "Header"): request u32 @0, flags u32 @4, size of the payload u32 @8. Fields are in the
 * machine's own order, which is little-endian wherever this package runs.
 */
export const HEADER_BYTES = 12;
/** Largest payload accepted: the largest legal one, a table of regions, is a quarter of it. */
export const MAX_PAYLOAD_BYTES = 4096;

/** Flags: two bits of version, then what the message is. */
const VERSION = 1;
const VERSION_MASK = 3;
/** The message answers one of the same request. */
export const FLAG_REPLY = 4;
/** The sender wants an acknowledgement. */
export const FLAG_NEED_REPLY = 8;

/** A message header, decoded: which request it is, and how much follows. */
export interface MessageHeader {
  readonly request: number;
  readonly reply: boolean;
  /** The sender wants to hear whether it worked; means something once REPLY_ACK is negotiated. */
  readonly needReply: boolean;
  readonly payloadBytes: number;
}

/** @throws VhostUserError `ERR_FRAMING` for another version or a payload above the maximum */
export function decodeHeader(bytes: Uint8Array): MessageHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset, HEADER_BYTES);
  const flags = view.getUint32(4, true);
  const payloadBytes = view.getUint32(8, true);
  if ((flags & VERSION_MASK) !== VERSION) {
    throw new VhostUserError('ERR_FRAMING', `message has version ${flags & VERSION_MASK}, not ${VERSION}`);
  }
  if (payloadBytes > MAX_PAYLOAD_BYTES) {
    throw new VhostUserError(
      'ERR_FRAMING',
      `message says that ${payloadBytes} bytes follow, more than ${MAX_PAYLOAD_BYTES}`,
    );
  }
  return {
    request: view.getUint32(0, true),
    reply: (flags & FLAG_REPLY) !== 0,
    needReply: (flags & FLAG_NEED_REPLY) !== 0,
    payloadBytes,
  };
}

/** A whole message. @param flags besides the version */
export function encodeMessage(request: number, flags: number, payload: Uint8Array): Uint8Array {
  const message = new Uint8Array(HEADER_BYTES + payload.length);
  const view = new DataView(message.buffer);
  view.setUint32(0, request, true);
  view.setUint32(4, VERSION | flags, true);
  view.setUint32(8, payload.length, true);
  message.set(payload, HEADER_BYTES);
  return message;
}
