// The log of Linux's dm-log-writes (struct log_write_super and log_write_entry of drivers/md/dm-log-writes.c), little-endian, in
// sectors of 512 bytes. Sector 0 is the superblock; an entry is a sector of its own and, for what writes, its data behind it.

/** The log counts in these, as disks do. */
export const LOG_SECTOR = 512;

const MAGIC = 0x6a_7366_7773_6872n;
const VERSION = 1n;

/** Flags of entries; a write has none. */
export const LOG_FLUSH = 1n << 0n;
export const LOG_DISCARD = 1n << 2n;

/** What is found in an entry's sector. */
export interface LogHeader {
  readonly sector: number;
  readonly sectors: number;
  readonly flags: bigint;
  /**
   * How long the log was, in sectors, when the request reached the disk: what stands before that was complete by then. In the
   * part of the sector that dm-log-writes leaves empty.
   */
  readonly reached: number;
}

export function encodeSuperblock(entries: bigint): Uint8Array {
  const view = new DataView(new ArrayBuffer(LOG_SECTOR));
  view.setBigUint64(0, MAGIC, true);
  view.setBigUint64(8, VERSION, true);
  view.setBigUint64(16, entries, true);
  view.setUint32(24, LOG_SECTOR, true);
  return new Uint8Array(view.buffer);
}

/** Whether a file that begins so is a log of this kind. */
export function isSuperblock(bytes: Uint8Array): boolean {
  if (bytes.length < LOG_SECTOR) return false;
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return (
    view.getBigUint64(0, true) === MAGIC &&
    view.getBigUint64(8, true) === VERSION &&
    view.getUint32(24, true) === LOG_SECTOR
  );
}

export function encodeHeader(header: LogHeader): Uint8Array {
  const view = new DataView(new ArrayBuffer(LOG_SECTOR));
  view.setBigUint64(0, BigInt(header.sector), true);
  view.setBigUint64(8, BigInt(header.sectors), true);
  view.setBigUint64(16, header.flags, true);
  // Bytes of text of a mark, which this log has none of.
  view.setBigUint64(24, 0n, true);
  view.setBigUint64(32, BigInt(header.reached), true);
  return new Uint8Array(view.buffer);
}

export function decodeHeader(bytes: Uint8Array): LogHeader {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  return {
    sector: Number(view.getBigUint64(0, true)),
    sectors: Number(view.getBigUint64(8, true)),
    flags: view.getBigUint64(16, true),
    reached: Number(view.getBigUint64(32, true)),
  };
}
