import { protocolError } from '../vhost-user-error.js';
import { decodeU64, encodeU64, expectBytes, setU64, u64ToNumber, viewOfBytes } from './integers.js';

/** "A vring state description": index u32 @0, num u32 @4. What `num` is, the request says. */
export interface VringState {
  readonly index: number;
  readonly num: number;
}

/**
 * Payload of SET_VRING_NUM, SET_VRING_BASE, GET_VRING_BASE and SET_VRING_ENABLE.
 * @throws VhostUserError `ERR_PROTOCOL` for another length
 */
export function decodeVringState(payload: Uint8Array): VringState {
  const view = expectBytes(payload, 8);
  return { index: view.getUint32(0, true), num: view.getUint32(4, true) };
}

/** Payload of SET_VRING_NUM, SET_VRING_BASE, GET_VRING_BASE and SET_VRING_ENABLE. */
export function encodeVringState({ index, num }: VringState): Uint8Array {
  const payload = new Uint8Array(8);
  viewOfBytes(payload).setUint32(0, index, true);
  viewOfBytes(payload).setUint32(4, num, true);
  return payload;
}

/**
 * "A vring address description": index u32 @0, flags u32 @4, then u64s: descriptor table @8, used ring @16, avail ring @24,
 * log @32. Addresses are those of the front end's own memory.
 */
export interface VringAddress {
  readonly index: number;
  readonly descriptorTable: number;
  readonly usedRing: number;
  readonly availRing: number;
}

const VRING_ADDRESS_BYTES = 40;
/** The used ring's writes are to be logged, for a live migration: goes with a feature that is not offered. */
const VHOST_VRING_F_LOG = 1;

/**
 * Payload of SET_VRING_ADDR.
 * @throws VhostUserError `ERR_PROTOCOL` for another length, an address beyond 2^53, or where a log is asked for
 */
export function decodeVringAddress(payload: Uint8Array): VringAddress {
  const view = expectBytes(payload, VRING_ADDRESS_BYTES);
  if ((view.getUint32(4, true) & VHOST_VRING_F_LOG) !== 0) {
    throw protocolError('a log of writes is asked for, which was not offered');
  }
  return {
    index: view.getUint32(0, true),
    descriptorTable: u64ToNumber(view, 8, 'address of the descriptor table'),
    usedRing: u64ToNumber(view, 16, 'address of the used ring'),
    availRing: u64ToNumber(view, 24, 'address of the avail ring'),
  };
}

/** Payload of SET_VRING_ADDR. */
export function encodeVringAddress(address: VringAddress): Uint8Array {
  const payload = new Uint8Array(VRING_ADDRESS_BYTES);
  const view = viewOfBytes(payload);
  view.setUint32(0, address.index, true);
  setU64(view, 8, address.descriptorTable);
  setU64(view, 16, address.usedRing);
  setU64(view, 24, address.availRing);
  return payload;
}

/** Payload of SET_VRING_KICK, _CALL and _ERR: the ring in bits 0 to 7; bit 8: no descriptor comes along. */
export interface VringFd {
  readonly index: number;
  readonly hasFd: boolean;
}

const INDEX_MASK = 0xffn;
const NO_FD = 0x100n;

/**
 * Payload of SET_VRING_KICK, _CALL and _ERR.
 * @throws VhostUserError `ERR_PROTOCOL` for another length
 */
export function decodeVringFd(payload: Uint8Array): VringFd {
  const value = decodeU64(payload);
  return { index: Number(value & INDEX_MASK), hasFd: (value & NO_FD) === 0n };
}

/** Payload of SET_VRING_KICK, _CALL and _ERR. */
export const encodeVringFd = ({ index, hasFd }: VringFd): Uint8Array =>
  encodeU64(BigInt(index) | (hasFd ? 0n : NO_FD));
