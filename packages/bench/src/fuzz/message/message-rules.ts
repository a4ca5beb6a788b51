import { MAX_TABLE_REGIONS, Request } from '@iothreads/vhost-user/front-end';
import type { MessageStep } from './message-case.js';

/** Bytes of payload of each request, from the protocol's text; undefined where that depends on what it says. */
const PAYLOAD_BYTES: Readonly<Record<number, number | undefined>> = {
  [Request.GET_FEATURES]: 0,
  [Request.SET_FEATURES]: 8,
  [Request.SET_OWNER]: 0,
  [Request.RESET_OWNER]: 0,
  [Request.SET_MEM_TABLE]: undefined,
  [Request.SET_VRING_NUM]: 8,
  [Request.SET_VRING_ADDR]: 40,
  [Request.SET_VRING_BASE]: 8,
  [Request.GET_VRING_BASE]: 8,
  [Request.SET_VRING_KICK]: 8,
  [Request.SET_VRING_CALL]: 8,
  [Request.SET_VRING_ERR]: 8,
  [Request.GET_PROTOCOL_FEATURES]: 0,
  [Request.SET_PROTOCOL_FEATURES]: 8,
  [Request.GET_QUEUE_NUM]: 0,
  [Request.SET_VRING_ENABLE]: 8,
  [Request.SET_BACKEND_REQ_FD]: 0,
  [Request.GET_CONFIG]: undefined,
  [Request.SET_CONFIG]: undefined,
  [Request.GET_MAX_MEM_SLOTS]: 0,
  [Request.GET_INFLIGHT_FD]: undefined,
  [Request.SET_INFLIGHT_FD]: undefined,
  [Request.ADD_MEM_REG]: 40,
  [Request.REM_MEM_REG]: 40,
};
const KNOWN: ReadonlySet<number> = new Set(Object.values(Request));

/** Requests whose first word is the index of a ring. */
const OF_A_RING: ReadonlySet<number> = new Set([
  Request.SET_VRING_NUM,
  Request.SET_VRING_ADDR,
  Request.SET_VRING_BASE,
  Request.GET_VRING_BASE,
  Request.SET_VRING_ENABLE,
]);
const WITH_EVENTFD: ReadonlySet<number> = new Set([
  Request.SET_VRING_KICK,
  Request.SET_VRING_CALL,
  Request.SET_VRING_ERR,
]);

/**
 * Whether a message is wrong whatever has been said before, written without a look at the product's code.
 * @returns why; undefined where it may be right
 */
export function whyWrong({ request, flags, payload, fds }: MessageStep, queues: number): string | undefined {
  const bytes = Buffer.from(payload, 'hex');
  if ((flags & 3) !== 1) return 'it has another version';
  if (bytes.length > 4096) return 'it is longer than any message';
  if ((flags & 4) !== 0) return 'it is an answer';
  if (!KNOWN.has(request)) return 'the request is unknown';
  const expected = PAYLOAD_BYTES[request];
  if (expected !== undefined && bytes.length !== expected) return `it has not ${expected} bytes of payload`;
  if (OF_A_RING.has(request) && bytes.readUInt32LE(0) >= queues) return 'there is no such ring';
  if (WITH_EVENTFD.has(request)) {
    if (bytes[0]! >= queues) return 'there is no such ring';
    const [first] = fds;
    const none = (bytes[1]! & 1) === 1;
    if (none ? fds.length > 0 : fds.length !== 1 || first !== 'eventfd') return 'an eventfd belongs to it';
    return undefined;
  }
  switch (request) {
    case Request.SET_MEM_TABLE: {
      if (bytes.length < 8) return 'it is cut off';
      const regions = bytes.readUInt32LE(0);
      if (regions < 1 || regions > MAX_TABLE_REGIONS) return `${regions} regions are not possible`;
      if (bytes.length !== 8 + 32 * regions) return 'it is not as long as its table';
      if (fds.length !== regions) return 'a file belongs to each region';
      return wrongRegion(bytes, 8, fds[0]!);
    }
    case Request.ADD_MEM_REG:
      return fds.length === 1 ? wrongRegion(bytes, 8, fds[0]!) : 'a file belongs to it';
    case Request.REM_MEM_REG:
      return fds.length > 1 ? 'too many files' : undefined;
    case Request.SET_BACKEND_REQ_FD:
      return fds.length === 1 ? undefined : 'a socket belongs to it';
    case Request.GET_INFLIGHT_FD:
      if (bytes.length !== 20 && bytes.length !== 24) return 'it is too short or too long';
      if (bytes.readUInt16LE(16) > queues) return 'there are not so many queues';
      return fds.length > 0 ? 'no descriptor belongs to it' : undefined;
    case Request.SET_INFLIGHT_FD: {
      if (bytes.length !== 20 && bytes.length !== 24) return 'it is too short or too long';
      const [fd] = fds;
      if (fds.length !== 1 || (fd !== 'memory' && fd !== 'small')) return 'a file belongs to it';
      const byteLength = bytes.readUInt16LE(16) * (16 + 16 * bytes.readUInt16LE(18));
      if (bytes.readBigUInt64LE(0) < byteLength) return 'there is no room for its queues';
      return bytes.readBigUInt64LE(8) + BigInt(byteLength) > FILE_BYTES[fd]
        ? 'it reaches beyond its file'
        : undefined;
    }
    case Request.SET_VRING_NUM: {
      const size = bytes.readUInt32LE(4);
      return size < 1 || size > 32768 || (size & (size - 1)) !== 0 ? 'that is no size of a ring' : undefined;
    }
    case Request.SET_VRING_BASE:
      return bytes.readUInt32LE(4) > 0xffff ? 'indexes have 16 bits' : undefined;
    case Request.SET_VRING_ENABLE:
      return bytes.readUInt32LE(4) > 1 ? 'that is neither on nor off' : undefined;
    default:
      if (KNOWN_WITHOUT_FDS.has(request) && fds.length > 0) return 'no descriptor belongs to it';
      return undefined;
  }
}

const KNOWN_WITHOUT_FDS: ReadonlySet<number> = new Set(Object.keys(PAYLOAD_BYTES).map(Number));

const FILE_BYTES = { memory: 0x1_0000, small: 0x1000 } as const;

function wrongRegion(bytes: Buffer, at: number, fd: MessageStep['fds'][number]): string | undefined {
  if (fd !== 'memory' && fd !== 'small') return 'that is no memory';
  const [address, size, user, offset] = [0, 8, 16, 24].map((field) => bytes.readBigUInt64LE(at + field));
  if (size === 0n) return 'the region has no bytes';
  if (offset! + size! > BigInt(FILE_BYTES[fd])) return 'the region reaches beyond its file';
  const most = 2n ** 53n;
  return address! + size! > most || user! + size! > most ? 'the region ends beyond 2^53' : undefined;
}
