import { closeFd } from '../file-descriptor.js';
import { type MemoryMap, unmapMemory } from '../memory-map.js';
import { ReadableWatch } from '../readable-watch.js';

/**
 * What a thread leaves behind that ends without closing its io_uring: descriptors and mappings are the process's. Plain numbers,
 * for another thread.
 */
export interface RingRemains {
  readonly fd: number;
  readonly eventFd: number;
  /** Hangs up when the kernel has done with the ring; -1 where the ring took no guard. */
  readonly guardFd: number;
  readonly mappings: readonly Pick<MemoryMap, 'address' | 'byteLength'>[];
}

/**
 * Closes the ring of a thread that has ended, and waits for the kernel: what was in flight is cancelled, or completes.
 *
 * The end of its thread alone does not say so. Linux finishes what it had handed to threads of its own before it lets that thread
 * go, but a direct transfer that a disk is at goes on, and lands in memory, or on the disk, whenever the disk gets to it.
 * @returns whether it is certain that nothing of the ring's is in flight any more; false at once where there is no guard
 */
export async function buryRing({ fd, eventFd, guardFd, mappings }: RingRemains): Promise<boolean> {
  // Mappings keep a ring as its descriptor does.
  for (const mapping of mappings) unmapMemory(mapping);
  closeFd(fd);
  closeFd(eventFd);
  if (guardFd === -1) return false;
  await new Promise<void>((resolve) => {
    const watch = new ReadableWatch(guardFd, () => {
      watch.close();
      resolve();
    });
    // A disk that never answers is no reason for a process to live on.
    watch.unref();
  });
  closeFd(guardFd);
  return true;
}
