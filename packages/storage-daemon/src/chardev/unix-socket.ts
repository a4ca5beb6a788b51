import { DEFAULT_BACKLOG, MAX_SOCKET_PATH_BYTES } from '@iothreads/linux';
import { type ListeningSocket, openListeningSocket, VhostUserError } from '@iothreads/vhost-user';
import { connect, createServer, type Socket } from 'node:net';
import { describeError } from '../describe-error.js';
import { StorageDaemonError } from '../storage-daemon-error.js';

/** A socket that listens. */
export interface Listening {
  /** Lets no further clients come, and removes the path. Clients that are there stay. */
  close(): void;
}

/**
 * Listens at `path`; a socket that nobody listens at any more is replaced, as in QEMU.
 * @param mode permission bits; default 0600
 * @param onClient gets sockets that are paused
 * @throws StorageDaemonError `ERR_SOCKET`
 */
export async function listenAt(
  path: string,
  mode: number | undefined,
  onClient: (socket: Socket) => void,
): Promise<Listening> {
  checkPath(path);
  let socket: ListeningSocket;
  try {
    socket = openListeningSocket({ type: 'unix', path, mode });
  } catch (error) {
    if (!(error instanceof VhostUserError)) throw error;
    throw mistake(`Failed to bind socket: ${error.message}`, error);
  }
  const server = createServer({ pauseOnConnect: true }, onClient);
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error) => {
      reject(mistake(`Failed to listen on ${path}: ${describeError(error)}`, error));
    });
    // From now on the descriptor is the server's.
    server.listen({ fd: socket.fd, backlog: DEFAULT_BACKLOG }, resolve);
  });
  // A connection that broke before it was accepted is no reason to stop listening.
  server.on('error', () => undefined);
  return {
    close: () => {
      server.close();
      socket.remove();
    },
  };
}

/** @throws StorageDaemonError `ERR_SOCKET` */
export async function connectTo(path: string): Promise<Socket> {
  checkPath(path);
  return new Promise((resolve, reject) => {
    const socket = connect({ path });
    const failed = (error: Error): void => {
      reject(mistake(`Failed to connect to '${path}': ${describeError(error)}`, error));
    };
    socket.once('connect', () => {
      socket.removeListener('error', failed);
      resolve(socket);
    });
    socket.once('error', failed);
  });
}

function checkPath(path: string): void {
  const bytes = Buffer.byteLength(path);
  if (bytes > MAX_SOCKET_PATH_BYTES) {
    throw mistake(
      `UNIX socket path '${path}' is too long: ${bytes} bytes, at most ${MAX_SOCKET_PATH_BYTES} are possible`,
    );
  }
  if (path === '' || path.includes('\0')) throw mistake('UNIX socket path is empty');
}

function mistake(message: string, cause?: Error): StorageDaemonError {
  return new StorageDaemonError('ERR_SOCKET', message, { cause });
}
