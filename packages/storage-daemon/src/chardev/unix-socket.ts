import { lstat, unlink } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { describeError, isExpected } from '../describe-error.js';
import { StorageDaemonError } from '../storage-daemon-error.js';

/** Of `sockaddr_un`, without the NUL at the end. */
const MAX_PATH_BYTES = 107;

/**
 * Listens at `path`; a socket that nobody listens at any more is replaced, as in QEMU.
 * @param onClient gets sockets that are paused
 * @throws StorageDaemonError `ERR_SOCKET`
 */
export async function listenAt(path: string, onClient: (socket: Socket) => void): Promise<Server> {
  checkPath(path);
  await removeStaleSocket(path);
  const server = createServer({ pauseOnConnect: true }, onClient);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => {
      reject(mistake(`Failed to bind socket to ${path}: ${describeError(error)}`, error));
    });
    server.listen(path, resolve);
  });
  // A connection that broke before it was accepted is no reason to stop listening.
  server.on('error', () => undefined);
  return server;
}

/** @throws StorageDaemonError `ERR_SOCKET` */
export async function connectTo(path: string): Promise<Socket> {
  checkPath(path);
  const socket = await tryConnect(path);
  if (socket instanceof Error)
    throw mistake(`Failed to connect to '${path}': ${describeError(socket)}`, socket);
  return socket;
}

function checkPath(path: string): void {
  const bytes = Buffer.byteLength(path);
  if (bytes > MAX_PATH_BYTES) {
    throw mistake(
      `UNIX socket path '${path}' is too long: ${bytes} bytes, at most ${MAX_PATH_BYTES} are possible`,
    );
  }
  if (path === '' || path.includes('\0')) throw mistake('UNIX socket path is empty');
}

async function removeStaleSocket(path: string): Promise<void> {
  try {
    if (!(await lstat(path)).isSocket()) {
      throw mistake(`Failed to bind socket to ${path}: it exists and is no socket; choose another path`);
    }
  } catch (error) {
    // Not there, or not to be looked at: then binding says what is wrong.
    if (error instanceof StorageDaemonError) throw error;
    return;
  }
  const socket = await tryConnect(path);
  if (!(socket instanceof Error)) {
    socket.destroy();
    throw mistake(
      `Failed to bind socket to ${path}: somebody listens there; stop them or choose another path`,
    );
  }
  if (!isExpected(socket) || socket.code !== 'ECONNREFUSED') {
    throw mistake(`Failed to bind socket to ${path}: it exists, and ${describeError(socket)}`, socket);
  }
  await unlink(path);
}

/** Connected, or why not. */
function tryConnect(path: string): Promise<Socket | Error> {
  return new Promise((resolve) => {
    const socket = connect({ path });
    socket.once('connect', () => {
      socket.removeListener('error', resolve);
      resolve(socket);
    });
    socket.once('error', resolve);
  });
}

function mistake(message: string, cause?: Error): StorageDaemonError {
  return new StorageDaemonError('ERR_SOCKET', message, { cause });
}
