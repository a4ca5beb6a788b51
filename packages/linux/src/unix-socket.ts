import { NativeBuffer } from './address-of.js';
import { closeFd } from './file-descriptor.js';
import { checked, lastErrno, libc } from './libc.js';
import { errnoName, LinuxError } from './linux-error.js';
import { setModeBeforeBind, widenMode } from './socket-mode.js';

const AF_UNIX = 1;
const SOCK_STREAM = 1;
const SOCK_CLOEXEC = 0o2000000;
const SOCK_NONBLOCK = 0o4000;
const SOL_SOCKET = 1;
const SO_DOMAIN = 39;
const SO_ACCEPTCONN = 30;
const SCM_RIGHTS = 1;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
const MSG_CMSG_CLOEXEC = 0x4000_0000;
const MSG_CTRUNC = 8;

/** Longest path of a socket: `sun_path` has 108 bytes, the last one a NUL. */
export const MAX_SOCKET_PATH_BYTES = 107;
/** Descriptors that the kernel takes in one message. */
const MAX_FDS = 253;

/** struct sockaddr_un: family u16 @0, path @2. */
const SOCKADDR_UN_BYTES = 110;
/** struct msghdr on 64-bit Linux. */
const MSGHDR_BYTES = 56;
const MSG_IOV = 16;
const MSG_IOVLEN = 24;
const MSG_CONTROL = 32;
const MSG_CONTROLLEN = 40;
const MSG_FLAGS = 48;
/** struct cmsghdr: length u64 @0, level i32 @8, type i32 @12, then the data, aligned to 8. */
const CMSGHDR_BYTES = 16;

const socket = libc.func('int socket(int domain, int type, int protocol)') as (
  domain: number,
  type: number,
  protocol: number,
) => number;
const bind = libc.func('int bind(int fd, uintptr_t address, unsigned int byteLength)') as (
  fd: number,
  address: number,
  byteLength: number,
) => number;
const connect = libc.func('int connect(int fd, uintptr_t address, unsigned int byteLength)') as typeof bind;
const listen = libc.func('int listen(int fd, int backlog)') as (fd: number, backlog: number) => number;
const accept4 = libc.func('int accept4(int fd, uintptr_t address, uintptr_t byteLength, int flags)') as (
  fd: number,
  address: number,
  byteLength: number,
  flags: number,
) => number;
const getsockopt = libc.func(
  'int getsockopt(int fd, int level, int name, uintptr_t value, uintptr_t byteLength)',
) as (fd: number, level: number, name: number, value: number, byteLength: number) => number;
const sendmsg = libc.func('long sendmsg(int fd, uintptr_t message, int flags)') as (
  fd: number,
  message: number,
  flags: number,
) => number;
const recvmsg = libc.func('long recvmsg(int fd, uintptr_t message, int flags)') as typeof sendmsg;

function socketAddress(path: string): NativeBuffer {
  const encoded = new TextEncoder().encode(path);
  if (encoded.length > MAX_SOCKET_PATH_BYTES) throw new LinuxError('bind', 36 /* ENAMETOOLONG */);
  const address = new NativeBuffer(SOCKADDR_UN_BYTES);
  address.view.setUint16(0, AF_UNIX, true);
  address.bytes.set(encoded, 2);
  return address;
}

const newSocket = (): number =>
  checked('socket', socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));

/** Connections that wait until they are accepted, where nothing else is said. */
export const DEFAULT_BACKLOG = 16;

/** How a socket listens. */
export interface ListenOptions {
  /** Permission bits of the path: who may write to it may connect. Default 0600: its owner alone. At no time there are more. */
  readonly mode?: number | undefined;
  /** Connections that wait until they are accepted; default 16. */
  readonly backlog?: number;
}

/**
 * A listening socket at `path`, which must not exist yet; non-blocking. The caller closes the descriptor and removes the path.
 * @throws LinuxError `ENAMETOOLONG` above 107 bytes, `EADDRINUSE`, `ENOENT`, …
 */
export function listenUnix(
  path: string,
  { mode = 0o600, backlog = DEFAULT_BACKLOG }: ListenOptions = {},
): number {
  const address = socketAddress(path);
  const fd = newSocket();
  try {
    setModeBeforeBind(fd, mode);
    // The kernel reads the whole structure during the call; `address` lives through it.
    checked('bind', bind(fd, address.address, SOCKADDR_UN_BYTES));
    // At once: whoever waits for the path connects to it.
    checked('listen', listen(fd, backlog));
    widenMode(path, mode);
  } catch (error) {
    closeFd(fd);
    throw error;
  }
  return fd;
}

/** Connects to the socket at `path`; the descriptor is non-blocking and the caller's to close. */
export function connectUnix(path: string): number {
  const address = socketAddress(path);
  const fd = newSocket();
  try {
    // As in `listenUnix`. A Unix socket connects at once or fails with EAGAIN, when the backlog is full.
    checked('connect', connect(fd, address.address, SOCKADDR_UN_BYTES));
  } catch (error) {
    closeFd(fd);
    throw error;
  }
  return fd;
}

/** Takes the next connection; non-blocking. @returns its descriptor, or -1 when there is none */
export function acceptUnix(fd: number): number {
  // No address is asked for: both pointers are null.
  const connection = accept4(fd, 0, 0, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (connection === -1 && isAgain(lastErrno())) return -1;
  return checked('accept', connection);
}

/** Whether a descriptor that somebody handed over is a listening Unix socket. */
export function isListeningUnixSocket(fd: number): boolean {
  return socketOption(fd, SO_DOMAIN) === AF_UNIX && socketOption(fd, SO_ACCEPTCONN) === 1;
}

/** @returns NaN where `fd` is no socket */
function socketOption(fd: number, name: number): number {
  const value = new NativeBuffer(8);
  value.view.setUint32(4, 4, true);
  // An int at `value` and its size behind it; both live through the call.
  if (getsockopt(fd, SOL_SOCKET, name, value.address, value.address + 4) === -1) return NaN;
  return value.view.getInt32(0, true);
}

const isAgain = (errno: number): boolean => errnoName(errno) === 'EAGAIN' || errnoName(errno) === 'EINTR';

/** What `UnixMessenger.receive` found besides bytes. */
export interface Received {
  /** Bytes received; 0 at the end of the stream, -1 when there is nothing at the moment. */
  readonly byteLength: number;
  /** Descriptors that came along, closed on exec: the caller's to close. */
  readonly fds: number[];
  /** More descriptors came than there was room for: the kernel has closed those. */
  readonly truncated: boolean;
}

/** Sends and receives bytes with descriptors over a connected Unix socket, which stays the caller's. Never waits. */
export class UnixMessenger {
  readonly fd: number;
  readonly #maxFds: number;
  // Everything that the kernel is pointed to lives as long as the messenger.
  readonly #header = new NativeBuffer(MSGHDR_BYTES);
  readonly #vector = new NativeBuffer(16);
  readonly #control: NativeBuffer;
  readonly #data: NativeBuffer;

  /** @param capacityBytes most bytes of one call; what is received lies in `bytes` */
  constructor(fd: number, capacityBytes: number, maxFds: number) {
    this.fd = fd;
    this.#maxFds = Math.min(maxFds, MAX_FDS);
    this.#data = new NativeBuffer(capacityBytes);
    this.#control = new NativeBuffer(CMSGHDR_BYTES + Math.ceil((this.#maxFds * 4) / 8) * 8);
  }

  /** Where `receive` puts what it has received. */
  get bytes(): Uint8Array {
    return this.#data.bytes;
  }

  #prepare(byteLength: number, controlBytes: number): void {
    setAddress(this.#vector.view, 0, this.#data.address);
    setAddress(this.#vector.view, 8, byteLength);
    const { view, bytes } = this.#header;
    bytes.fill(0);
    setAddress(view, MSG_IOV, this.#vector.address);
    setAddress(view, MSG_IOVLEN, 1);
    if (controlBytes === 0) return;
    setAddress(view, MSG_CONTROL, this.#control.address);
    setAddress(view, MSG_CONTROLLEN, controlBytes);
  }

  /**
   * Takes bytes into the messenger's buffer, and the descriptors that came with them, which are the caller's from now on. Never
   * waits.
   * @param most most bytes to take, at most the capacity
   * @throws LinuxError
   */
  receive(most: number = this.#data.bytes.length): Received {
    this.#prepare(Math.min(most, this.#data.bytes.length), this.#control.bytes.length);
    // Header, vector, control and data belong to this object, and their lengths are in the header.
    const result = recvmsg(this.fd, this.#header.address, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (result === -1) {
      if (isAgain(lastErrno())) return { byteLength: -1, fds: [], truncated: false };
      throw new LinuxError('recvmsg', lastErrno());
    }
    const truncated = (this.#header.view.getInt32(MSG_FLAGS, true) & MSG_CTRUNC) !== 0;
    return { byteLength: result, fds: this.#receivedFds(), truncated };
  }

  #receivedFds(): number[] {
    const controlBytes = this.#header.view.getUint32(MSG_CONTROLLEN, true);
    const { view } = this.#control;
    const fds: number[] = [];
    // Bounded: every turn moves on by a header at least.
    for (let at = 0; at + CMSGHDR_BYTES <= controlBytes;) {
      const length = view.getUint32(at, true);
      if (length < CMSGHDR_BYTES) break;
      if (view.getInt32(at + 8, true) === SOL_SOCKET && view.getInt32(at + 12, true) === SCM_RIGHTS) {
        const end = Math.min(at + length, controlBytes);
        for (let each = at + CMSGHDR_BYTES; each + 4 <= end; each += 4) fds.push(view.getInt32(each, true));
      }
      at += Math.ceil(length / 8) * 8;
    }
    return fds;
  }

  /**
   * Sends `bytes` with descriptors, which stay the caller's.
   * @returns how many bytes were sent, all descriptors with the first of them; -1 when the socket is full
   */
  send(bytes: Uint8Array, fds: readonly number[] = []): number {
    if (bytes.length > this.#data.bytes.length || fds.length > this.#maxFds) {
      throw new RangeError(`message of ${bytes.length} bytes and ${fds.length} descriptors is too large`);
    }
    this.#data.bytes.set(bytes);
    const { view } = this.#control;
    if (fds.length > 0) {
      setAddress(view, 0, CMSGHDR_BYTES + 4 * fds.length);
      view.setInt32(8, SOL_SOCKET, true);
      view.setInt32(12, SCM_RIGHTS, true);
      for (const [index, fd] of fds.entries()) view.setInt32(CMSGHDR_BYTES + 4 * index, fd, true);
    }
    const controlBytes = fds.length === 0 ? 0 : CMSGHDR_BYTES + Math.ceil((4 * fds.length) / 8) * 8;
    this.#prepare(bytes.length, controlBytes);
    // As in `receive`. No signal: a connection that is gone is an error here, not the end of the process.
    const result = sendmsg(this.fd, this.#header.address, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (result === -1) {
      if (isAgain(lastErrno())) return -1;
      throw new LinuxError('sendmsg', lastErrno());
    }
    return result;
  }
}

function setAddress(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 0x1_0000_0000, true);
  view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true);
}
