import { protocolError } from '../vhost-user-error.js';
import { expectBytes, setU64, u64ToNumber, viewOfBytes } from './integers.js';

/** "A region", all u64: guest-physical address @0, size @8, address in the front end @16, offset in the file @24. */
export interface RegionDescription {
  readonly guestAddress: number;
  readonly size: number;
  readonly userAddress: number;
  readonly mmapOffset: number;
}

const REGION_BYTES = 32;
/** Number of regions u32 @0, padding u32 @4, then the regions. */
const TABLE_HEADER_BYTES = 8;
/** Padding u64 @0, then the region. */
const SINGLE_HEADER_BYTES = 8;

/** Regions in one table. The protocol means 8; vhost-rs, behind several virtual machine monitors, sends up to 32. */
export const MAX_TABLE_REGIONS = 32;

function decodeRegion(view: DataView, at: number): RegionDescription {
  const region = {
    guestAddress: u64ToNumber(view, at, 'guest address of a region'),
    size: u64ToNumber(view, at + 8, 'size of a region'),
    userAddress: u64ToNumber(view, at + 16, 'user address of a region'),
    mmapOffset: u64ToNumber(view, at + 24, 'file offset of a region'),
  };
  if (region.size === 0) throw protocolError(`region at ${hex(region.guestAddress)} has size 0`);
  for (const start of [region.guestAddress, region.userAddress, region.mmapOffset]) {
    if (!Number.isSafeInteger(start + region.size)) {
      throw protocolError(`region of ${region.size} bytes at ${hex(start)} ends beyond 2^53`);
    }
  }
  return region;
}

function encodeRegion(view: DataView, at: number, region: RegionDescription): void {
  setU64(view, at, region.guestAddress);
  setU64(view, at + 8, region.size);
  setU64(view, at + 16, region.userAddress);
  setU64(view, at + 24, region.mmapOffset);
}

/** Payload of SET_MEM_TABLE; a descriptor comes along for each region. */
export function decodeMemoryTable(payload: Uint8Array): RegionDescription[] {
  if (payload.length < TABLE_HEADER_BYTES) throw protocolError('memory table is cut off');
  const count = viewOfBytes(payload).getUint32(0, true);
  if (count < 1 || count > MAX_TABLE_REGIONS) {
    throw protocolError(`memory table of ${count} regions; 1 to ${MAX_TABLE_REGIONS} are possible`);
  }
  const view = expectBytes(payload, TABLE_HEADER_BYTES + count * REGION_BYTES);
  return Array.from({ length: count }, (_, i) => decodeRegion(view, TABLE_HEADER_BYTES + i * REGION_BYTES));
}

/** Payload of SET_MEM_TABLE, 1 to 32 regions. */
export function encodeMemoryTable(regions: readonly RegionDescription[]): Uint8Array {
  const payload = new Uint8Array(TABLE_HEADER_BYTES + regions.length * REGION_BYTES);
  const view = viewOfBytes(payload);
  view.setUint32(0, regions.length, true);
  for (const [i, region] of regions.entries()) {
    encodeRegion(view, TABLE_HEADER_BYTES + i * REGION_BYTES, region);
  }
  return payload;
}

/** Payload of ADD_MEM_REG and REM_MEM_REG. */
export const decodeSingleRegion = (payload: Uint8Array): RegionDescription =>
  decodeRegion(expectBytes(payload, SINGLE_HEADER_BYTES + REGION_BYTES), SINGLE_HEADER_BYTES);

/** Payload of ADD_MEM_REG and REM_MEM_REG. */
export function encodeSingleRegion(region: RegionDescription): Uint8Array {
  const payload = new Uint8Array(SINGLE_HEADER_BYTES + REGION_BYTES);
  encodeRegion(viewOfBytes(payload), SINGLE_HEADER_BYTES, region);
  return payload;
}

/** An address as error messages have it: `0x…`. */
export const hex = (address: number): string => `0x${address.toString(16)}`;
