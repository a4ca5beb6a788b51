import {
  encodeConfigAccess,
  encodeMemoryTable,
  encodeSingleRegion,
  encodeU64,
  encodeVringAddress,
  encodeVringFd,
  encodeVringState,
  Request,
} from '@iothreads/vhost-user/front-end';
import type { OwnFds } from './own-fds.js';

export const EMPTY = new Uint8Array();
/** The memory that a front end has shared before it errs. */
export const REGION = { guestAddress: 0, size: 65536, userAddress: 0x7000_0000, mmapOffset: 0 };

/** A message that is wrong. */
export interface Mistake {
  readonly request: number;
  readonly payload: Uint8Array;
  readonly fds?: (own: OwnFds) => number[];
  /** Of the line in the log. */
  readonly says: string;
}

export const state = (index: number, num: number): Uint8Array => encodeVringState({ index, num });
export const vringFd = (index: number, hasFd: boolean): Uint8Array => encodeVringFd({ index, hasFd });
export const region = (changes: Partial<typeof REGION>): Uint8Array =>
  encodeSingleRegion({ ...REGION, ...changes });
const at = (descriptorTable: number, availRing = 0x7000_4000, usedRing = 0x7000_8000): Uint8Array =>
  encodeVringAddress({ index: 0, descriptorTable, availRing, usedRing });
const raw = (payload: Uint8Array, offset: number, value: bigint): Uint8Array => {
  new DataView(payload.buffer).setBigUint64(offset, value, true);
  return payload;
};

/** Over a connection with `REGION` shared. An acknowledgement refuses them; where none is asked for the connection ends. */
export const mistakes: Record<string, Mistake> = {
  'an unknown request': { request: 99, payload: EMPTY, says: 'request 99: is unknown' },
  'an unknown request with descriptors': {
    request: 99,
    payload: EMPTY,
    fds: (own) => own.eventfds(3),
    says: 'request 99: is unknown',
  },
  'a log of writes': {
    request: 6,
    payload: new Uint8Array(16),
    fds: (own) => own.eventfds(1),
    says: 'is unknown',
  },
  'a payload where there is none': {
    request: Request.SET_OWNER,
    payload: new Uint8Array(8),
    says: 'payload has 8 bytes instead of 0',
  },
  'a payload that is too short': {
    request: Request.SET_VRING_NUM,
    payload: new Uint8Array(4),
    says: 'payload has 4 bytes instead of 8',
  },
  'a payload that is too long': {
    request: Request.SET_FEATURES,
    payload: new Uint8Array(9),
    says: 'payload has 9 bytes instead of 8',
  },
  'features that were not offered': {
    request: Request.SET_FEATURES,
    payload: encodeU64(1n << 34n),
    says: 'features 0x400000000 were not offered',
  },
  'protocol features that were not offered': {
    request: Request.SET_PROTOCOL_FEATURES,
    payload: encodeU64(1n << 8n),
    says: 'protocol features 0x100 were not offered',
  },
  'no descriptor where one belongs': {
    request: Request.SET_VRING_CALL,
    payload: vringFd(0, true),
    says: '0 descriptors came along instead of 1',
  },
  'two descriptors where one belongs': {
    request: Request.SET_VRING_KICK,
    payload: vringFd(0, true),
    fds: (own) => own.eventfds(2),
    says: '2 descriptors came along instead of 1',
  },
  'a descriptor where none is said to be': {
    request: Request.SET_VRING_ERR,
    payload: vringFd(0, false),
    fds: (own) => own.eventfds(1),
    says: '1 descriptors came along instead of 0',
  },
  'a descriptor with a message that takes none': {
    request: Request.SET_OWNER,
    payload: EMPTY,
    fds: (own) => own.eventfds(1),
    says: '1 descriptors came along instead of 0',
  },
  'more descriptors than any message takes': {
    request: Request.SET_OWNER,
    payload: EMPTY,
    fds: (own) => own.eventfds(40),
    says: 'more than',
  },
  'a file instead of an eventfd': {
    request: Request.SET_VRING_KICK,
    payload: vringFd(0, true),
    fds: (own) => [own.memory()],
    says: 'the descriptor is no eventfd',
  },
  'a socket instead of an eventfd': {
    request: Request.SET_VRING_CALL,
    payload: vringFd(0, true),
    fds: (own) => [own.socket()],
    says: 'the descriptor is no eventfd',
  },
  'a table with fewer files than regions': {
    request: Request.SET_MEM_TABLE,
    payload: encodeMemoryTable([REGION, { ...REGION, guestAddress: 65536 }]),
    fds: (own) => [own.memory()],
    says: '1 descriptors came along instead of 2',
  },
  'regions that overlap': {
    request: Request.SET_MEM_TABLE,
    payload: encodeMemoryTable([REGION, { ...REGION, guestAddress: 61440 }]),
    fds: (own) => [own.memory(), own.memory()],
    says: 'regions at 0x0 and 0xf000 overlap',
  },
  'no regions': { request: Request.SET_MEM_TABLE, payload: encodeMemoryTable([]), says: '0 regions' },
  'more regions than offered': {
    request: Request.SET_MEM_TABLE,
    payload: encodeMemoryTable(
      Array.from({ length: 33 }, (_, i) => ({ ...REGION, guestAddress: i * 65536 })),
    ),
    says: 'memory table of 33 regions',
  },
  'a region of size 0': {
    request: Request.ADD_MEM_REG,
    payload: region({ guestAddress: 65536, size: 0 }),
    fds: (own) => [own.memory()],
    says: 'has size 0',
  },
  'a region whose end wraps': {
    request: Request.ADD_MEM_REG,
    payload: raw(region({}), 8, 2n ** 64n - 4096n),
    fds: (own) => [own.memory()],
    says: 'beyond 2^53',
  },
  'a region whose size wraps': {
    request: Request.ADD_MEM_REG,
    payload: raw(region({ guestAddress: 65536 }), 16, 2n ** 64n - 4096n),
    fds: (own) => [own.memory()],
    says: 'beyond 2^53',
  },
  'a region whose end wraps in the front end': {
    request: Request.ADD_MEM_REG,
    payload: raw(region({ guestAddress: 65536 }), 24, 2n ** 64n - 4096n),
    fds: (own) => [own.memory()],
    says: 'beyond 2^53',
  },
  'a region whose offset in its file wraps': {
    request: Request.ADD_MEM_REG,
    payload: raw(region({ guestAddress: 65536 }), 32, 2n ** 64n - 4096n),
    fds: (own) => [own.memory()],
    says: 'beyond 2^53',
  },
  'a region that reaches beyond its file': {
    request: Request.ADD_MEM_REG,
    payload: region({ guestAddress: 65536, mmapOffset: 8 }),
    fds: (own) => [own.memory()],
    says: "reaches beyond the file's 65536",
  },
  'a region that begins beyond its file': {
    request: Request.ADD_MEM_REG,
    payload: region({ guestAddress: 65536, size: 8, mmapOffset: 2 ** 40 }),
    fds: (own) => [own.memory()],
    says: "reaches beyond the file's 65536",
  },
  'a region at an odd address': {
    request: Request.ADD_MEM_REG,
    payload: region({ guestAddress: 65537, size: 4096 }),
    fds: (own) => [own.memory()],
    says: 'must be a multiple of 8',
  },
  'a region that is no file': {
    request: Request.ADD_MEM_REG,
    payload: region({ guestAddress: 65536 }),
    fds: (own) => own.eventfds(1),
    says: 'is no file',
  },
  'a region that overlaps one that is there': {
    request: Request.ADD_MEM_REG,
    payload: region({ guestAddress: 32768 }),
    fds: (own) => [own.memory()],
    says: 'regions at 0x0 and 0x8000 overlap',
  },
  'a region to remove that is not there': {
    request: Request.REM_MEM_REG,
    payload: region({ guestAddress: 8 }),
    says: 'there is no region of 65536 bytes at 0x8 to remove',
  },
  'a ring beyond the queues': {
    request: Request.SET_VRING_NUM,
    payload: state(3, 128),
    says: 'front end uses queue 3, the export has 2: add num-queues=4 to the export',
  },
  'a ring far beyond the queues': {
    request: Request.SET_VRING_ENABLE,
    payload: state(0xffff_ffff, 1),
    says: 'front end uses queue 4294967295',
  },
  'a kick of a ring beyond the queues': {
    request: Request.SET_VRING_KICK,
    payload: vringFd(255, true),
    fds: (own) => own.eventfds(1),
    says: 'front end uses queue 255',
  },
  'a ring of size 0': {
    request: Request.SET_VRING_NUM,
    payload: state(0, 0),
    says: 'must be a power of two',
  },
  'a ring of size 3': {
    request: Request.SET_VRING_NUM,
    payload: state(0, 3),
    says: 'must be a power of two',
  },
  'a ring that is too large': {
    request: Request.SET_VRING_NUM,
    payload: state(0, 65536),
    says: 'power of two, 1 to 32768',
  },
  'a ring that goes on beyond 16 bits': {
    request: Request.SET_VRING_BASE,
    payload: state(0, 0x1_0000),
    says: 'indexes have 16 bits',
  },
  'a ring enabled by 2': { request: Request.SET_VRING_ENABLE, payload: state(0, 2), says: 'not by 2' },
  'a ring outside of memory': {
    request: Request.SET_VRING_ADDR,
    payload: at(0x1000),
    says: 'is not in the memory that was shared',
  },
  'a ring at an address beyond 2^53': {
    request: Request.SET_VRING_ADDR,
    payload: raw(at(0), 8, 2n ** 64n - 16n),
    says: 'is beyond 2^53',
  },
  'a ring whose last byte is outside of memory': {
    request: Request.SET_VRING_ADDR,
    payload: at(0x7000_0000, 0x7000_4000, 0x7000_ffff),
    says: 'used ring of ring 0',
  },
  'a log of a ring': {
    request: Request.SET_VRING_ADDR,
    payload: raw(at(0x7000_0000), 0, 1n << 32n),
    says: 'a log of writes is asked for',
  },
  'a write beyond writeback': {
    request: Request.SET_CONFIG,
    payload: encodeConfigAccess({ offset: 0, bytes: new Uint8Array(8) }),
    says: '8 bytes of the configuration at 0',
  },
  'a channel without a socket': {
    request: Request.SET_BACKEND_REQ_FD,
    payload: EMPTY,
    says: '0 descriptors came along instead of 1',
  },
};
