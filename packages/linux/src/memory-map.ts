import koffi from 'koffi';
import { checked, lastErrno, libc } from './libc.js';
import { LinuxError } from './linux-error.js';

const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;
const MADV_DONTDUMP = 16;
/** What mmap(2) returns for -1 as an unsigned address. */
const MAP_FAILED = 2 ** 64;

const mmap = libc.func(
  'uintptr_t mmap(uintptr_t address, size_t byteLength, int protection, int flags, int fd, int64_t offset)',
) as (
  address: number,
  byteLength: number,
  protection: number,
  flags: number,
  fd: number,
  offset: number,
) => number | bigint;
const munmap = libc.func('int munmap(uintptr_t address, size_t byteLength)') as (
  address: number,
  byteLength: number,
) => number;

const madvise = libc.func('int madvise(uintptr_t address, size_t byteLength, int advice)') as (
  address: number,
  byteLength: number,
  advice: number,
) => number;

/** A file's bytes in this process's memory, shared with everybody who maps the file. */
export class MemoryMap {
  readonly address: number;
  readonly byteLength: number;
  #mapped = true;

  /**
   * @param offset in the file, a multiple of the page size
   * @throws LinuxError
   */
  constructor(fd: number, byteLength: number, offset: number = 0) {
    // The kernel chooses a free range; nothing that exists is replaced. The mapping keeps the file itself: `fd` may be closed.
    const address = Number(mmap(0, byteLength, PROT_READ | PROT_WRITE, MAP_SHARED, fd, offset));
    if (address >= MAP_FAILED) throw new LinuxError('mmap', lastErrno());
    this.address = address;
    this.byteLength = byteLength;
  }

  /** Leaves the memory out of core dumps, where the kernel can do that: it is not this process's own. */
  leaveOutOfDumps(): void {
    // A range that is mapped whole; nothing in it changes.
    madvise(this.address, this.byteLength, MADV_DONTDUMP);
  }

  /** The caller makes sure that no thread works in the mapping any more, through a view or by a call under way. */
  unmap(): void {
    if (!this.#mapped) return;
    this.#mapped = false;
    unmapMemory(this);
  }
}

/** Unmaps what another thread has mapped and can't unmap any more: it is gone. */
export function unmapMemory({ address, byteLength }: Pick<MemoryMap, 'address' | 'byteLength'>): void {
  // The range is a mapping of this process's that nobody works in: that is what its owner's end says.
  checked('munmap', munmap(address, byteLength));
}

/**
 * Memory at an address as an ArrayBuffer, on any thread of the process that maps it. It copies nothing, and keeps nothing
 * alive: whoever unmaps the memory first makes sure that no view is used any more. `Atomics` work on it, but for waiting.
 */
export const viewOf = (address: number, byteLength: number): ArrayBuffer =>
  // An external buffer over memory that koffi does not own: collecting it frees nothing.
  koffi.view(BigInt(address), byteLength);
