import { MAX_QUEUE_SIZE } from '@iothreads/core';
import { protocolError } from '../vhost-user-error.js';
import { setU64, u64ToNumber, viewOfBytes } from './integers.js';

/**
 * "Inflight description": size of the mapping u64 @0, its offset in the file u64 @8, number of queues u16 @16, their size u16 @18.
 */
export interface InflightDescription {
  /** Bytes. */
  readonly mmapSize: number;
  readonly mmapOffset: number;
  readonly numQueues: number;
  /** Descriptors of the largest queue. */
  readonly queueSize: number;
}

const INFLIGHT_BYTES = 20;
/** As a C compiler lays the structure out, and QEMU sends it. */
const PADDED_BYTES = 24;

/**
 * Payload of GET_INFLIGHT_FD, where the first two fields mean nothing, and of SET_INFLIGHT_FD.
 * @throws VhostUserError `ERR_PROTOCOL` for another length, or queues that can't be
 */
export function decodeInflight(payload: Uint8Array): InflightDescription {
  if (payload.length !== INFLIGHT_BYTES && payload.length !== PADDED_BYTES) {
    throw protocolError(
      `payload has ${payload.length} bytes instead of ${INFLIGHT_BYTES} or ${PADDED_BYTES}`,
    );
  }
  const view = viewOfBytes(payload);
  const numQueues = view.getUint16(16, true);
  const queueSize = view.getUint16(18, true);
  if (numQueues === 0 || queueSize === 0 || queueSize > MAX_QUEUE_SIZE) {
    throw protocolError(`requests in flight of ${numQueues} queues of size ${queueSize} can't be tracked`);
  }
  return {
    mmapSize: u64ToNumber(view, 0, 'size of the region for requests in flight'),
    mmapOffset: u64ToNumber(view, 8, 'file offset of the region for requests in flight'),
    numQueues,
    queueSize,
  };
}

/**
 * Payload of GET_INFLIGHT_FD, its answer, and SET_INFLIGHT_FD.
 * @param byteLength 24, as QEMU, or 20: an answer has the length of its question
 */
export function encodeInflight(
  { mmapSize, mmapOffset, numQueues, queueSize }: InflightDescription,
  byteLength: number = PADDED_BYTES,
): Uint8Array {
  const payload = new Uint8Array(byteLength);
  const view = viewOfBytes(payload);
  setU64(view, 0, mmapSize);
  setU64(view, 8, mmapOffset);
  view.setUint16(16, numQueues, true);
  view.setUint16(18, queueSize, true);
  return payload;
}
