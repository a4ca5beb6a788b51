/** Numbers of io_uring(7), the same on all architectures. */

export const SYS_IO_URING_SETUP = 425;
export const SYS_IO_URING_ENTER = 426;
export const SYS_IO_URING_REGISTER = 427;

export const IORING_SETUP_CQSIZE = 1 << 3;
export const IORING_SETUP_CLAMP = 1 << 4;
/** 5.19: completions are posted when the thread enters the kernel anyway, instead of interrupting it. */
export const IORING_SETUP_COOP_TASKRUN = 1 << 8;
/** 5.19: a flag in the ring tells that there are completions to be posted. */
export const IORING_SETUP_TASKRUN_FLAG = 1 << 9;
/** 6.0: one thread only submits. */
export const IORING_SETUP_SINGLE_ISSUER = 1 << 12;
/** 6.1: completions are posted when that thread asks for them, and at no other time. */
export const IORING_SETUP_DEFER_TASKRUN = 1 << 13;

export const IORING_FEAT_SINGLE_MMAP = 1 << 0;
export const IORING_FEAT_NODROP = 1 << 1;
export const IORING_FEAT_SUBMIT_STABLE = 1 << 2;

export const IORING_ENTER_GETEVENTS = 1 << 0;

/** Flag in the completion ring, the application's to set: no signals through the eventfd. */
export const IORING_CQ_EVENTFD_DISABLED = 1 << 0;

/** Flags in the submission ring. */
export const IORING_SQ_CQ_OVERFLOW = 1 << 1;
export const IORING_SQ_TASKRUN = 1 << 2;

export const IORING_OFF_SQ_RING = 0;
export const IORING_OFF_SQES = 0x1000_0000;

export const IORING_REGISTER_FILES = 2;
export const IORING_REGISTER_EVENTFD = 4;
export const IORING_REGISTER_FILES_UPDATE = 6;

export const IOSQE_FIXED_FILE = 1 << 0;

/** Operations. */
export const IORING_OP_READV = 1;
export const IORING_OP_WRITEV = 2;
export const IORING_OP_FSYNC = 3;
export const IORING_OP_FALLOCATE = 17;
export const IORING_OP_READ = 22;
export const IORING_OP_WRITE = 23;
export const IORING_FSYNC_DATASYNC = 1 << 0;

/** struct io_uring_params: byte offsets. */
export const PARAMS_BYTES = 120;
export const PARAMS_SQ_ENTRIES = 0;
export const PARAMS_CQ_ENTRIES = 4;
export const PARAMS_FLAGS = 8;
export const PARAMS_FEATURES = 20;
export const PARAMS_SQ_OFF = 40;
export const PARAMS_CQ_OFF = 80;
/** struct io_sqring_offsets, and below it io_cqring_offsets: byte offsets. */
export const SQ_OFF_TAIL = 4;
export const SQ_OFF_FLAGS = 16;
export const SQ_OFF_ARRAY = 24;
export const CQ_OFF_HEAD = 0;
export const CQ_OFF_TAIL = 4;
export const CQ_OFF_CQES = 20;
export const CQ_OFF_FLAGS = 24;

/** struct io_uring_sqe: bytes, and in 32-bit words opcode|flags|ioprio, fd, offset, address, length, operation's flags, user_data. */
export const SQE_BYTES = 64;
export const SQE_WORDS = 16;
export const SQE_FD = 1;
export const SQE_OFFSET = 2;
export const SQE_ADDRESS = 4;
export const SQE_LENGTH = 6;
export const SQE_OP_FLAGS = 7;
export const SQE_USER_DATA = 8;

/** struct io_uring_cqe: bytes, and in 32-bit words user_data (two), result, flags. */
export const CQE_BYTES = 16;
export const CQE_WORDS = 4;
export const CQE_RESULT = 2;
