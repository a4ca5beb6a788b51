import { NativeBuffer } from '../address-of.js';
import { createEventfd } from '../eventfd.js';
import { closeFd } from '../file-descriptor.js';
import { checked, lastErrno, syscall6 } from '../libc.js';
import { errnoName, LinuxError } from '../linux-error.js';
import { MemoryMap, viewOf } from '../memory-map.js';
import { createSocketPair } from '../socket-pair.js';
import {
  CQ_OFF_CQES,
  CQ_OFF_FLAGS,
  CQ_OFF_HEAD,
  CQ_OFF_TAIL,
  CQE_BYTES,
  CQE_RESULT,
  CQE_WORDS,
  IORING_CQ_EVENTFD_DISABLED,
  IORING_ENTER_GETEVENTS,
  IORING_FEAT_NODROP,
  IORING_FEAT_SINGLE_MMAP,
  IORING_FEAT_SUBMIT_STABLE,
  IORING_FSYNC_DATASYNC,
  IORING_OFF_SQ_RING,
  IORING_OFF_SQES,
  IORING_OP_FALLOCATE,
  IORING_OP_FSYNC,
  IORING_OP_READ,
  IORING_OP_READV,
  IORING_OP_WRITE,
  IORING_OP_WRITEV,
  IORING_REGISTER_EVENTFD,
  IORING_REGISTER_FILES,
  IORING_REGISTER_FILES_UPDATE,
  IORING_SETUP_CLAMP,
  IORING_SETUP_COOP_TASKRUN,
  IORING_SETUP_CQSIZE,
  IORING_SETUP_DEFER_TASKRUN,
  IORING_SETUP_SINGLE_ISSUER,
  IORING_SETUP_TASKRUN_FLAG,
  IORING_SQ_CQ_OVERFLOW,
  IORING_SQ_TASKRUN,
  IOSQE_FIXED_FILE,
  PARAMS_BYTES,
  PARAMS_CQ_ENTRIES,
  PARAMS_CQ_OFF,
  PARAMS_FEATURES,
  PARAMS_FLAGS,
  PARAMS_SQ_ENTRIES,
  PARAMS_SQ_OFF,
  SQ_OFF_ARRAY,
  SQ_OFF_FLAGS,
  SQ_OFF_TAIL,
  SQE_ADDRESS,
  SQE_BYTES,
  SQE_FD,
  SQE_LENGTH,
  SQE_OFFSET,
  SQE_OP_FLAGS,
  SQE_USER_DATA,
  SQE_WORDS,
  SYS_IO_URING_ENTER,
  SYS_IO_URING_REGISTER,
  SYS_IO_URING_SETUP,
} from './io-uring-layout.js';
import type { RingRemains } from './ring-remains.js';

/** Set-up flags, the best first: what an older kernel refuses with EINVAL, the next line does without. */
const SETUPS = [
  IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
  IORING_SETUP_COOP_TASKRUN | IORING_SETUP_TASKRUN_FLAG,
  0,
];
const NEEDED_FEATURES = IORING_FEAT_SINGLE_MMAP | IORING_FEAT_NODROP | IORING_FEAT_SUBMIT_STABLE;

/** Files that can be registered at a time. */
const MAX_REGISTERED_FILES = 1024;
/** EBUSY: completions have overflown; EAGAIN: short of memory; EINTR: a signal. */
const RETRIED = new Set(['EINTR', 'EAGAIN', 'EBUSY', 'errno 0']);
/** Times that the kernel is asked again when it can't take entries for the moment. */
const MAX_RETRIES = 100;

/** Takes a completion: the number it was prepared under, and the call's result or minus its errno. */
export type CompletionHandler = (userData: number, result: number) => void;

/**
 * An io_uring of one thread (io_uring(7)), driven over its mapped rings: entries are prepared by the dozen, submitted with
 * one call, and their completions read without any.
 *
 * Memory that an entry points to must stay mapped until its completion has been read; vectors only until `submit`.
 */
export class IoUring {
  readonly fd: number;
  /** Signalled when something completes while the ring is armed: for an event loop that is about to sleep. */
  readonly eventFd = createEventfd();
  readonly entries: number;
  /** Set-up flags that the kernel took. */
  readonly setupFlags: number;
  readonly #deferred: boolean;
  readonly #rings: MemoryMap;
  readonly #sqeMap: MemoryMap;
  readonly #ring32: Int32Array;
  readonly #sqes: Uint32Array;
  readonly #cqes: Int32Array;
  readonly #sqMask: number;
  readonly #cqMask: number;
  /** Indexes in `#ring32`. */
  readonly #sqTail: number;
  readonly #sqFlags: number;
  readonly #cqHead: number;
  readonly #cqTail: number;
  readonly #cqFlags: number;
  #armed = false;
  #tail: number;
  #prepared = 0;
  /** Submitted, and not reaped. */
  #inFlight = 0;
  #guardFd = -1;
  #headSeen: number;
  readonly #fileUpdate = new NativeBuffer(32);
  readonly #fileTable: NativeBuffer;
  readonly #freeFiles: number[] = [];

  /**
   * @param entries of the submission ring, a power of two; there is room for four times as many completions
   * @throws LinuxError `EPERM` or `ENOSYS` where io_uring is forbidden or missing, `EINVAL` where the kernel is too old
   */
  constructor(entries: number) {
    const { params, fd, flags } = setUp(entries);
    try {
      const { view } = params;
      if ((view.getUint32(PARAMS_FEATURES, true) & NEEDED_FEATURES) !== NEEDED_FEATURES) {
        throw new LinuxError('io_uring_setup', 22 /* EINVAL: before Linux 5.5 */);
      }
      this.fd = fd;
      this.setupFlags = flags;
      this.#deferred = (flags & IORING_SETUP_DEFER_TASKRUN) !== 0;
      const sqEntries = view.getUint32(PARAMS_SQ_ENTRIES, true);
      const cqEntries = view.getUint32(PARAMS_CQ_ENTRIES, true);
      this.entries = sqEntries;
      const sqOff = (field: number): number => view.getUint32(PARAMS_SQ_OFF + field, true);
      const cqOff = (field: number): number => view.getUint32(PARAMS_CQ_OFF + field, true);
      const bytes = Math.max(sqOff(SQ_OFF_ARRAY) + 4 * sqEntries, cqOff(CQ_OFF_CQES) + CQE_BYTES * cqEntries);
      this.#rings = new MemoryMap(fd, bytes, IORING_OFF_SQ_RING);
      this.#sqeMap = new MemoryMap(fd, SQE_BYTES * sqEntries, IORING_OFF_SQES);
      // Both views belong to this object alone, which unmaps in `close` and never looks at them again.
      const rings = viewOf(this.#rings.address, bytes);
      this.#ring32 = new Int32Array(rings, 0, Math.floor(bytes / 4));
      this.#sqes = new Uint32Array(viewOf(this.#sqeMap.address, SQE_BYTES * sqEntries));
      this.#cqes = new Int32Array(rings, cqOff(CQ_OFF_CQES), CQE_WORDS * cqEntries);
      this.#sqMask = sqEntries - 1;
      this.#cqMask = cqEntries - 1;
      this.#sqTail = sqOff(SQ_OFF_TAIL) / 4;
      this.#sqFlags = sqOff(SQ_OFF_FLAGS) / 4;
      this.#cqHead = cqOff(CQ_OFF_HEAD) / 4;
      this.#cqTail = cqOff(CQ_OFF_TAIL) / 4;
      this.#cqFlags = cqOff(CQ_OFF_FLAGS) / 4;
      // The indirection of the submission ring is not used: entry n is always in place n.
      const array = sqOff(SQ_OFF_ARRAY) / 4;
      for (let i = 0; i < sqEntries; i++) this.#ring32[array + i] = i;
      this.#tail = this.#ring32[this.#sqTail]!;
      this.#headSeen = this.#ring32[this.#cqHead]!;
      this.#fileTable = new NativeBuffer(4 * MAX_REGISTERED_FILES);
      this.#registerTable();
      this.#registerGuard();
      this.#registerEventfd();
    } catch (error) {
      if (this.#guardFd !== -1) closeFd(this.#guardFd);
      closeFd(this.eventFd);
      closeFd(fd);
      throw error;
    }
  }

  /** Polling the ring's own descriptor would not do: completions that are put off don't make it readable. */
  #registerEventfd(): void {
    this.#ring32[this.#cqFlags] = IORING_CQ_EVENTFD_DISABLED;
    this.#fileUpdate.view.setInt32(0, this.eventFd, true);
    // The kernel reads one descriptor at the address, during the call; it keeps a reference to the eventfd of its own.
    const { address } = this.#fileUpdate;
    checked(
      'io_uring_register',
      syscall6(SYS_IO_URING_REGISTER, this.fd, IORING_REGISTER_EVENTFD, address, 1, 0, 0),
    );
  }

  /** From now on completions signal `eventFd`. @returns whether there are some already, which did not */
  arm(): boolean {
    if (!this.#armed) {
      this.#armed = true;
      Atomics.store(this.#ring32, this.#cqFlags, 0);
    }
    return this.hasCompletions();
  }

  /** Somebody looks at the ring now: signals would be calls for nothing. */
  disarm(): void {
    if (!this.#armed) return;
    this.#armed = false;
    Atomics.store(this.#ring32, this.#cqFlags, IORING_CQ_EVENTFD_DISABLED);
  }

  /** An empty table, filled in as files come. Without one, files are named by their descriptors. */
  #registerTable(): void {
    for (let i = 0; i < MAX_REGISTERED_FILES; i++) this.#fileTable.view.setInt32(4 * i, -1, true);
    const { address } = this.#fileTable;
    // The kernel reads as many descriptors as are named, during the call.
    const result = syscall6(
      SYS_IO_URING_REGISTER,
      this.fd,
      IORING_REGISTER_FILES,
      address,
      MAX_REGISTERED_FILES,
      0,
      0,
    );
    if (result === -1) return;
    for (let i = MAX_REGISTERED_FILES - 1; i >= 0; i--) this.#freeFiles.push(i);
  }

  /**
   * The kernel lets go of a ring's files when nothing is in flight in it any more, whoever has closed it: one of them is an end of
   * a pair of sockets that nobody else has, and the other end hangs up then.
   */
  #registerGuard(): void {
    const [kept, given] = createSocketPair();
    const file = this.registerFile(given);
    closeFd(given);
    if (file.flags === IOSQE_FIXED_FILE) this.#guardFd = kept;
    else closeFd(kept);
  }

  /** What is left of the ring if its thread ends without closing it: for `buryRing`, on another thread. */
  get remains(): RingRemains {
    const mappings = [this.#rings, this.#sqeMap].map(({ address, byteLength }) => ({ address, byteLength }));
    return { fd: this.fd, eventFd: this.eventFd, guardFd: this.#guardFd, mappings };
  }

  /**
   * Registers a file, which saves looking its descriptor up for each entry.
   * @returns what entries call it: its place in the table, or its descriptor where the table is full
   */
  registerFile(fd: number): RingFile {
    const index = this.#freeFiles.pop();
    if (index === undefined || !this.#updateFile(index, fd)) return { fd, flags: 0 };
    return { fd: index, flags: IOSQE_FIXED_FILE };
  }

  /** No entry that names it is in flight. */
  unregisterFile(file: RingFile): void {
    if (file.flags !== IOSQE_FIXED_FILE) return;
    if (this.#updateFile(file.fd, -1)) this.#freeFiles.push(file.fd);
  }

  #updateFile(index: number, fd: number): boolean {
    // struct io_uring_files_update: offset u32 @0, pointer to descriptors u64 @8; here they follow behind it.
    const { view, address } = this.#fileUpdate;
    view.setUint32(0, index, true);
    view.setBigUint64(8, BigInt(address + 16), true);
    view.setInt32(16, fd, true);
    // The structure and the one descriptor behind it belong to this object and live through the call.
    return syscall6(SYS_IO_URING_REGISTER, this.fd, IORING_REGISTER_FILES_UPDATE, address, 1, 0, 0) === 1;
  }

  /** Entries that are prepared and not submitted. */
  get prepared(): number {
    return this.#prepared;
  }

  /**
   * Prepares pread(2) into memory at `address`. What has been prepared before is submitted first where the ring is full.
   * @param position byte offset in the file
   * @param userData what the completion is told with, an integer from 0 to 2^31 - 1
   */
  read(file: RingFile, address: number, byteLength: number, position: number, userData: number): void {
    this.#prepare(IORING_OP_READ, file, position, address, byteLength, 0, userData);
  }

  /** Prepares pwrite(2) from memory at `address`; parameters as those of `read`. */
  write(file: RingFile, address: number, byteLength: number, position: number, userData: number): void {
    this.#prepare(IORING_OP_WRITE, file, position, address, byteLength, 0, userData);
  }

  /**
   * Prepares preadv(2).
   * @param vector address of `count` entries as `IoVector` makes them, to stay until `submit`
   */
  readVector(file: RingFile, vector: number, count: number, position: number, userData: number): void {
    this.#prepare(IORING_OP_READV, file, position, vector, count, 0, userData);
  }

  /** Prepares pwritev(2); parameters as those of `readVector`. */
  writeVector(file: RingFile, vector: number, count: number, position: number, userData: number): void {
    this.#prepare(IORING_OP_WRITEV, file, position, vector, count, 0, userData);
  }

  /** Prepares fdatasync(2). */
  syncData(file: RingFile, userData: number): void {
    this.#prepare(IORING_OP_FSYNC, file, 0, 0, 0, IORING_FSYNC_DATASYNC, userData);
  }

  /** Prepares fallocate(2). @param mode `FALLOC_FL_…` */
  allocate(file: RingFile, mode: number, position: number, byteLength: number, userData: number): void {
    this.#prepare(IORING_OP_FALLOCATE, file, position, byteLength, mode, 0, userData);
  }

  #prepare(
    operation: number,
    file: RingFile,
    offset: number,
    address: number,
    length: number,
    operationFlags: number,
    userData: number,
  ): void {
    if (this.#prepared === this.entries) this.submit();
    const at = (this.#tail & this.#sqMask) * SQE_WORDS;
    const sqes = this.#sqes;
    sqes[at] = operation | (file.flags << 8);
    sqes[at + SQE_FD] = file.fd;
    sqes[at + SQE_OFFSET] = offset % 0x1_0000_0000;
    sqes[at + SQE_OFFSET + 1] = Math.floor(offset / 0x1_0000_0000);
    sqes[at + SQE_ADDRESS] = address % 0x1_0000_0000;
    sqes[at + SQE_ADDRESS + 1] = Math.floor(address / 0x1_0000_0000);
    sqes[at + SQE_LENGTH] = length;
    sqes[at + SQE_OP_FLAGS] = operationFlags;
    sqes[at + SQE_USER_DATA] = userData;
    // What is left of the entry was 0 from the beginning, and nobody changes it.
    this.#tail = (this.#tail + 1) | 0;
    this.#prepared++;
  }

  /**
   * Hands everything that is prepared to the kernel: one call, unless it is short of memory.
   * @throws LinuxError when it takes nothing however often it is asked
   */
  submit(): void {
    if (this.#prepared === 0) return;
    Atomics.store(this.#ring32, this.#sqTail, this.#tail);
    for (let retry = 0; this.#prepared > 0; retry++) {
      // Entries and rings are mapped as long as this object is open; what entries point to is their preparer's to keep.
      const taken = syscall6(
        SYS_IO_URING_ENTER,
        this.fd,
        this.#prepared,
        0,
        this.#deferred ? IORING_ENTER_GETEVENTS : 0,
        0,
        0,
      );
      if (taken > 0) {
        this.#prepared -= taken;
        this.#inFlight += taken;
        retry = 0;
        continue;
      }
      const errno = taken === -1 ? lastErrno() : 0;
      const name = errnoName(errno);
      if (retry >= MAX_RETRIES || !RETRIED.has(name)) {
        throw new LinuxError('io_uring_enter', errno);
      }
    }
  }

  /** Takes back what is prepared and was not submitted: the kernel has not seen it. */
  withdraw(): void {
    this.#tail = (this.#tail - this.#prepared) | 0;
    this.#prepared = 0;
    Atomics.store(this.#ring32, this.#sqTail, this.#tail);
  }

  /** Whether `reap` would find something, at the cost of two plain reads. */
  hasCompletions(): boolean {
    const ring = this.#ring32;
    return (
      ring[this.#cqTail] !== this.#headSeen ||
      (ring[this.#sqFlags]! & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) !== 0
    );
  }

  /**
   * Passes every completion that is posted to `handler`, which may prepare more. Of those that the kernel has put off it posts
   * some at a time (20 in 6.18): `hasCompletions` tells of the rest, and while armed `eventFd` does.
   *
   * @returns how many there were
   */
  reap(handler: CompletionHandler): number {
    const ring = this.#ring32;
    if ((ring[this.#sqFlags]! & (IORING_SQ_TASKRUN | IORING_SQ_CQ_OVERFLOW)) !== 0) this.#flush();
    let head = this.#headSeen;
    const tail = Atomics.load(ring, this.#cqTail);
    const count = (tail - head) | 0;
    // Bounded by the ring: what is posted meanwhile is the next call's.
    while (head !== tail) {
      const at = (head & this.#cqMask) * CQE_WORDS;
      const userData = this.#cqes[at]!;
      const result = this.#cqes[at + CQE_RESULT]!;
      head = (head + 1) | 0;
      // The place is free before the handler runs: it may submit, and the kernel may need it.
      this.#headSeen = head;
      Atomics.store(ring, this.#cqHead, head);
      this.#inFlight--;
      handler(userData, result);
    }
    return count;
  }

  /** Blocks this thread until nothing is in flight; what completes is passed to nobody. For a thread that is about to end. */
  drain(): void {
    this.withdraw();
    while (this.#inFlight > 0) {
      // Submits nothing, waits for one; memory that entries point to is still there.
      const entered = syscall6(SYS_IO_URING_ENTER, this.fd, 0, 1, IORING_ENTER_GETEVENTS, 0, 0);
      if (entered === -1 && !RETRIED.has(errnoName(lastErrno()))) return;
      this.reap(() => undefined);
    }
  }

  /** Lets the kernel post what it has put off. */
  #flush(): void {
    // Submits nothing, waits for nothing.
    syscall6(SYS_IO_URING_ENTER, this.fd, 0, 0, IORING_ENTER_GETEVENTS, 0, 0);
  }

  /** No entry is in flight. */
  close(): void {
    this.#rings.unmap();
    this.#sqeMap.unmap();
    closeFd(this.fd);
    closeFd(this.eventFd);
    if (this.#guardFd !== -1) closeFd(this.#guardFd);
  }
}

/** A file as entries name it. */
export interface RingFile {
  readonly fd: number;
  /** IOSQE_FIXED_FILE for a registered one. */
  readonly flags: number;
}

function setUp(entries: number): { params: NativeBuffer; fd: number; flags: number } {
  for (const [index, flags] of SETUPS.entries()) {
    const params = new NativeBuffer(PARAMS_BYTES);
    params.view.setUint32(PARAMS_FLAGS, flags | IORING_SETUP_CLAMP | IORING_SETUP_CQSIZE, true);
    params.view.setUint32(PARAMS_CQ_ENTRIES, entries * 4, true);
    // The kernel reads and writes `params` during the call.
    const fd = syscall6(SYS_IO_URING_SETUP, entries, params.address, 0, 0, 0, 0);
    if (fd !== -1) return { params, fd, flags };
    const old = errnoName(lastErrno()) === 'EINVAL' && index < SETUPS.length - 1;
    if (!old) checked('io_uring_setup', fd);
  }
  throw new LinuxError('io_uring_setup', 22);
}
