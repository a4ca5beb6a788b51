import type { Server } from 'node:net';
import { resolve } from 'node:path';
import type { SocketChardevOptions } from '../options/chardev-options.js';
import type { Chardev, ChardevFrontend } from './chardev.js';
import { ClientLine } from './client-line.js';
import { connectTo, listenAt } from './unix-socket.js';

/** A UNIX domain socket: its server, or one connection to somebody else's. */
export class SocketChardev implements Chardev {
  readonly id: string;
  readonly kind = 'socket';
  readonly #path: string;
  readonly #line: ClientLine;
  readonly #server: Server | undefined;

  private constructor(id: string, path: string, line: ClientLine, server: Server | undefined) {
    this.id = id;
    this.#path = path;
    this.#line = line;
    this.#server = server;
  }

  /**
   * Listens or is connected once this resolves, and has its first client where it was to wait for one.
   * @param stopping gives up waiting
   * @throws StorageDaemonError `ERR_SOCKET`
   */
  static async open(options: SocketChardevOptions, stopping: AbortSignal): Promise<SocketChardev> {
    const { id, path } = options;
    const line = new ClientLine();
    if (options.server !== true) {
      const socket = await connectTo(path);
      socket.pause();
      line.add(socket);
      return new SocketChardev(id, path, line, undefined);
    }
    const server = await listenAt(path, (socket) => {
      line.add(socket);
    });
    if (options.wait === true) await line.arrival(stopping);
    return new SocketChardev(id, path, line, server);
  }

  get connected(): boolean {
    return this.#line.connected;
  }

  get description(): string {
    const server = this.#server === undefined ? '' : ',server=on';
    return `${this.connected ? '' : 'disconnected:'}unix:${resolve(this.#path)}${server}`;
  }

  attach(frontend: ChardevFrontend): void {
    this.#line.attach(frontend);
  }

  async close(): Promise<void> {
    this.#line.close();
    const server = this.#server;
    // Removes the socket from the file system as well.
    if (server !== undefined) await new Promise((closed) => server.close(closed));
  }
}
