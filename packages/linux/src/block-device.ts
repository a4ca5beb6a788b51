import { NativeBuffer } from './address-of.js';
import { checked, libc } from './libc.js';

/** Requests of ioctl(2) on block devices: 64-bit size in bytes, logical block size. */
const BLKGETSIZE64 = 0x8008_1272;
const BLKSSZGET = 0x1268;

const ioctl = libc.func('int ioctl(int fd, unsigned long request, uintptr_t argument)') as (
  fd: number,
  request: number,
  argument: number,
) => number;

/** Size of an open block device, bytes. @throws LinuxError `ENOTTY` when it is none */
export function blockDeviceSizeBytes(fd: number): number {
  const value = new NativeBuffer(8);
  // Writes a u64 at `value`, which lives through the call.
  checked('ioctl', ioctl(fd, BLKGETSIZE64, value.address));
  return Number(value.view.getBigUint64(0, true));
}

/** Smallest unit of direct I/O on an open block device, bytes. @throws LinuxError `ENOTTY` when it is none */
export function blockDeviceSectorBytes(fd: number): number {
  const value = new NativeBuffer(8);
  // Writes an int at `value`, which lives through the call.
  checked('ioctl', ioctl(fd, BLKSSZGET, value.address));
  return value.view.getInt32(0, true);
}
