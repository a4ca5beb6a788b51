import {
  encodeConfigAccess,
  encodeInflight,
  encodeMemoryTable,
  encodeSingleRegion,
  encodeU64,
  encodeVringAddress,
  encodeVringFd,
  encodeVringState,
  FLAG_NEED_REPLY,
  Request,
} from '@iothreads/vhost-user/front-end';
import type { Random } from '../../stress/random.js';
import { oddNumber } from '../ring/request-plan.js';

/** What can come along with a message. */
const FD_KINDS = ['memory', 'small', 'readonly', 'eventfd', 'socket', 'pipe', 'null'] as const;
export type FdKind = (typeof FD_KINDS)[number];

/** One message of a front end, right or wrong. */
export interface MessageStep {
  readonly request: number;
  /** Version included. */
  readonly flags: number;
  /** Hexadecimal. */
  readonly payload: string;
  readonly fds: readonly FdKind[];
  /** Bytes of payload that the header speaks of, where that isn't true; the connection is closed behind it. */
  readonly size?: number;
  /** Bytes of the message before the connection is closed. */
  readonly sent?: number;
  /** The doorbell is rung before. */
  readonly kick?: boolean;
}

/** One connection. JSON. */
export interface MessageCase {
  readonly steps: readonly MessageStep[];
}

/** Where the front end claims to have its memory. */
const USER_ADDRESS = 0x7000_0000;
export const MEMORY_BYTES = 0x1_0000;
export const SMALL_BYTES = 0x1000;
export const QUEUES = 2;
/** Where memory has tables of requests in flight, as if a back end had been killed. */
export const INFLIGHT = 0xe000;
/** Bytes of one queue's, rounded up. */
export const INFLIGHT_STRIDE = 320;
/** Each ring's, in memory: the parts lie 0x1000 apart. */
export const ringAt = (index: number): number => index * 0x4000;

const VERSION = 1;
const ACK = VERSION | FLAG_NEED_REPLY;
const PROTOCOL_FEATURES = 0x9629n;
/** VERSION_1, protocol features, EVENT_IDX, INDIRECT_DESC, and some of virtio-blk's. */
const FEATURES = 0x1_7000_0e44n;
const REGION = { guestAddress: 0, size: MEMORY_BYTES, userAddress: USER_ADDRESS, mmapOffset: 0 };
const SECOND_REGION = { guestAddress: 0x10_0000, size: SMALL_BYTES, userAddress: 0x7100_0000, mmapOffset: 0 };

interface Good {
  readonly request: number;
  readonly payload: Uint8Array;
  readonly fds?: readonly FdKind[];
}

const EMPTY = new Uint8Array();

const tracked = (random: Random, mmapOffset: number): Parameters<typeof encodeInflight>[0] => ({
  mmapSize: 0x1000,
  mmapOffset,
  numQueues: 1 + random.below(QUEUES),
  queueSize: 16,
});

const setInflight = (random: Random): Good => ({
  request: Request.SET_INFLIGHT_FD,
  // What another back end has left, or anything, or nothing.
  payload: encodeInflight(tracked(random, random.pick([INFLIGHT, INFLIGHT, 0, 0xf000]))),
  fds: ['memory'],
});

const addressOf = (index: number): Uint8Array =>
  encodeVringAddress({
    index,
    descriptorTable: USER_ADDRESS + ringAt(index),
    availRing: USER_ADDRESS + ringAt(index) + 0x1000,
    usedRing: USER_ADDRESS + ringAt(index) + 0x2000,
  });
const fdMessage = (request: number, index: number, hasFd: boolean): Good => ({
  request,
  payload: encodeVringFd({ index, hasFd }),
  fds: hasFd ? ['eventfd'] : [],
});

const negotiation: readonly Good[] = [
  { request: Request.GET_FEATURES, payload: EMPTY },
  { request: Request.SET_PROTOCOL_FEATURES, payload: encodeU64(PROTOCOL_FEATURES) },
  { request: Request.SET_FEATURES, payload: encodeU64(FEATURES) },
];
const shareMemory: Good = {
  request: Request.SET_MEM_TABLE,
  payload: encodeMemoryTable([REGION]),
  fds: ['memory'],
};
const startOf = (index: number): Good[] => [
  { request: Request.SET_VRING_NUM, payload: encodeVringState({ index, num: 16 }) },
  { request: Request.SET_VRING_BASE, payload: encodeVringState({ index, num: 0 }) },
  { request: Request.SET_VRING_ADDR, payload: addressOf(index) },
  fdMessage(Request.SET_VRING_CALL, index, true),
  fdMessage(Request.SET_VRING_KICK, index, true),
  { request: Request.SET_VRING_ENABLE, payload: encodeVringState({ index, num: 1 }) },
];
const others: readonly ((random: Random) => Good)[] = [
  (random) => random.pick(negotiation),
  () => shareMemory,
  (random) => random.pick(startOf(random.below(QUEUES))),
  (random) => random.pick(startOf(random.below(QUEUES))),
  (random) => ({
    request: random.pick([Request.SET_VRING_ENABLE, Request.SET_VRING_BASE, Request.GET_VRING_BASE]),
    payload: encodeVringState({ index: random.below(QUEUES), num: random.below(2) }),
  }),
  (random) =>
    fdMessage(
      random.pick([Request.SET_VRING_KICK, Request.SET_VRING_CALL, Request.SET_VRING_ERR]),
      random.below(QUEUES),
      random.chance(0.6),
    ),
  () => ({ request: Request.ADD_MEM_REG, payload: encodeSingleRegion(SECOND_REGION), fds: ['small'] }),
  () => ({ request: Request.REM_MEM_REG, payload: encodeSingleRegion(SECOND_REGION) }),
  () => ({ request: Request.REM_MEM_REG, payload: encodeSingleRegion(REGION), fds: ['memory'] }),
  (random) => ({
    request: Request.GET_CONFIG,
    payload: encodeConfigAccess({ offset: random.below(60), bytes: new Uint8Array(random.below(60)) }),
  }),
  (random) => ({
    request: Request.SET_CONFIG,
    payload: encodeConfigAccess({ offset: 32, bytes: Uint8Array.of(random.below(2)) }),
  }),
  () => ({ request: Request.SET_BACKEND_REQ_FD, payload: EMPTY, fds: ['socket'] }),
  (random) => ({
    request: random.pick([Request.GET_QUEUE_NUM, Request.GET_MAX_MEM_SLOTS, Request.GET_PROTOCOL_FEATURES]),
    payload: EMPTY,
  }),
  (random) => ({
    request: Request.GET_INFLIGHT_FD,
    payload: encodeInflight(tracked(random, 0)),
  }),
  setInflight,
  (random) => ({ request: random.pick([Request.SET_OWNER, Request.RESET_OWNER]), payload: EMPTY }),
];

/** A front end that starts as it should, goes on as it likes, and makes mistakes on the way. */
export function makeMessageCase(random: Random): MessageCase {
  const good = [...(random.chance(0.95) ? negotiation : []), ...(random.chance(0.9) ? [shareMemory] : [])];
  if (random.chance(0.2)) good.push(setInflight(random));
  if (random.chance(0.7)) good.push(...startOf(0));
  if (random.chance(0.3)) good.push(...startOf(1));
  const more = random.below(24);
  for (let i = 0; i < more; i++) good.push(random.pick(others)(random));
  // Few mistakes in the beginning: they would be the end of it too often.
  const steps = good.map((each, i) => makeStep(random, each, i < 4 ? 0.02 : 0.2));
  if (random.chance(0.15)) steps.push(cutStep(random, steps.at(-1) ?? makeStep(random, shareMemory, 0)));
  return { steps };
}

function makeStep(random: Random, { request, payload, fds = [] }: Good, mistakes: number): MessageStep {
  const kick = random.chance(0.15) ? { kick: true } : {};
  const step = { request, flags: ACK, payload: toHex(payload), fds, ...kick };
  if (!random.chance(mistakes)) return step;
  switch (random.below(9)) {
    case 0:
      return { ...step, request: random.below(46) };
    case 1:
      return { ...step, flags: random.pick([0, 1, 1, 2, 3, 5, 8, 13, 0x19, 0xffff_ffff]) };
    case 2:
      return { ...step, payload: step.payload.slice(0, 2 * random.below(payload.length + 1)) };
    case 3:
      return { ...step, payload: step.payload + '00'.repeat(random.pick([1, 4, 8, 32, 1000, 4096])) };
    case 4:
      return { ...step, fds: fds.slice(1) };
    case 5:
      return {
        ...step,
        fds: [...fds, ...Array.from({ length: random.pick([1, 1, 2, 40]) }, () => random.pick(FD_KINDS))],
      };
    case 6:
      return { ...step, fds: fds.map(() => random.pick(FD_KINDS)) };
    default:
      return { ...step, payload: toHex(spoil(random, payload)) };
  }
}

/** Another value in one of the payload's words. */
function spoil(random: Random, payload: Uint8Array): Uint8Array {
  if (payload.length < 4) return payload;
  const bytes = payload.slice();
  const view = new DataView(bytes.buffer);
  const at = 4 * random.below(Math.floor(bytes.length / 4));
  const value = view.getUint32(at, true);
  const other = random.pick([
    value + 1,
    value - 1,
    value ^ 0x8000_0000,
    value + 4096,
    value - 8,
    oddNumber(random),
    random.below(4),
  ]);
  view.setUint32(at, other, true);
  return bytes;
}

function cutStep(random: Random, step: MessageStep): MessageStep {
  const bytes = 12 + step.payload.length / 2;
  if (random.chance(0.5)) return { ...step, sent: random.below(bytes) };
  return { ...step, size: random.pick([0, 1, 7, 9, 4095, 4096, 4097, 0x7fff_ffff, 0xffff_ffff]) };
}

const toHex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');
