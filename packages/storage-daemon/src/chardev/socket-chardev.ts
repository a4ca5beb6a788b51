import { resolve } from 'node:path';
import type { SocketChardevOptions } from '../options/chardev-options.js';
import type { Chardev, ChardevFrontend } from './chardev.js';
import { ClientLine } from './client-line.js';
import { StorageDaemonError } from '../storage-daemon-error.js';
import { connectTo, type Listening, listenAt } from './unix-socket.js';

/** A UNIX domain socket: its server, or one connection to somebody else's. */
export class SocketChardev implements Chardev {
  readonly id: string;
  readonly kind = 'socket';
  readonly #path: string;
  readonly #line: ClientLine;
  readonly #server: Listening | undefined;

  private constructor(id: string, path: string, line: ClientLine, server: Listening | undefined) {
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
      if (options.mode !== undefined) {
        throw new StorageDaemonError('ERR_PARAMETER', "Parameter 'mode' is that of a server: add server=on");
      }
      const socket = await connectTo(path);
      socket.pause();
      line.add(socket);
      return new SocketChardev(id, path, line, undefined);
    }
    const server = await listenAt(path, options.mode, (socket) => {
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

  close(): Promise<void> {
    this.#line.close();
    this.#server?.close();
    return Promise.resolve();
  }
}
