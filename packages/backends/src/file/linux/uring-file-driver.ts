import type { BlockRequest, BlockStatus } from '@iothreads/core';
import type { RingFile } from '@iothreads/linux';
import type { BlockDriverContext } from '../../block-driver.js';
import type { PreparedDrive } from '../../block-driver-type.js';
import type { FileDriverState } from '../image-file.js';
import { LinuxFileDriver } from './linux-file-driver.js';
import { ThreadRing, type RingUser } from './thread-ring.js';

/** A raw image through the thread's io_uring: what is not waited for costs one call a batch, and none to collect. */
export class UringFileDriver extends LinuxFileDriver implements RingUser {
  readonly attend: () => void;
  inFlight = 0;
  closed = false;
  readonly #ring: ThreadRing;
  readonly #files: ReadonlyMap<number, RingFile>;
  readonly #file: RingFile;
  #completed = 0;

  /** @throws LinuxError where io_uring can't be had */
  constructor(prepared: PreparedDrive<FileDriverState>, context: BlockDriverContext) {
    super(prepared);
    this.attend = context.attend;
    this.#ring = ThreadRing.join(this, context);
    const { fd, direct } = prepared.state;
    const fds = new Set([fd, direct?.bufferedFd ?? fd]);
    this.#files = new Map([...fds].map((each) => [each, this.#ring.registerFile(each)]));
    this.#file = this.#files.get(fd)!;
  }

  ringFile(fd: number): RingFile {
    return fd === this.image.fd ? this.#file : this.#files.get(fd)!;
  }

  override submit(requests: readonly BlockRequest[], count: number): void {
    for (let i = 0; i < count; i++) {
      const request = requests[i]!;
      const settled = this.image.settle(request.operation);
      if (settled !== undefined) {
        request.complete(request.tag, settled);
        continue;
      }
      this.inFlight++;
      this.#ring.takeTransfer().start(this, request);
    }
    // What is in the page cache is complete by the time that the kernel has taken it.
    this.#ring.flush();
  }

  /** Collects what is complete, other files' too, which their devices hear of. @returns how many were this one's */
  poll(): number {
    this.#ring.disarm();
    if (!this.#ring.hasCompletions()) return 0;
    const before = this.#completed;
    this.#ring.flush();
    return this.#completed - before;
  }

  hasReady(): boolean {
    return this.#ring.hasCompletions();
  }

  arm(): boolean {
    return this.#ring.arm();
  }

  finished(request: BlockRequest, tag: number, status: BlockStatus): void {
    this.inFlight--;
    this.#completed++;
    if (this.closed) this.#ring.orphanDone();
    request.complete(tag, status);
  }

  override async close(): Promise<void> {
    this.closed = true;
    for (const file of this.#files.values()) this.#ring.unregisterFile(file);
    this.#ring.leave(this);
  }
}
