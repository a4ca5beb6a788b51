import type { PreparedDrive } from '@iothreads/backends';
import {
  type ExportedDevice,
  IOThreadError,
  type IOThreadRuntime,
  type IOStatus,
  type ReadErrorPolicy,
  type WriteErrorPolicy,
} from '@iothreads/iothread';
import { closeFd } from '@iothreads/linux';
import { Connection } from './connection.js';
import { ExportLog, type Log } from './export-log.js';
import { Listener } from './listener.js';
import { type ListeningSocket, openListeningSocket, type SocketAddress } from './listening-socket.js';
import { Session, type SessionOwner } from './session.js';
import { WriteCache } from './write-cache.js';

/** An export to start: a drive, where it is served, and by which iothreads. */
export interface VhostUserBlkOptions {
  readonly id: string;
  /** Held by the caller, until the export is closed. */
  readonly drive: PreparedDrive;
  readonly address: SocketAddress;
  readonly writable: boolean;
  /** Every completed write is durable already; a guest can switch that. Default false. */
  readonly writeThrough?: boolean;
  /** Bytes: 512, the default, to 4096. */
  readonly logicalBlockSize?: number;
  /** undefined: as many as a front end asks for, up to 64. */
  readonly numQueues?: number | undefined;
  /** One or more; the queues are dealt out to them. */
  readonly iothreads: readonly string[];
  /** Nobody is served before this resolves; connections wait. Closing the export ends the wait. */
  readonly admission?: Promise<void> | undefined;
  /** For how long to wait for requests in flight before that is told, and waited on for; default 30 000. */
  readonly drainTimeoutMs?: number;
  /** What becomes of a write that the disk fails; default 'report'. */
  readonly werror?: WriteErrorPolicy;
  /** ... of a read; default 'report'. */
  readonly rerror?: ReadErrorPolicy;
}

/** Queues where the operator has not chosen: front ends ask for one each virtual CPU. */
export const DEFAULT_NUM_QUEUES = 64;

/** A disk at a socket, for one virtual machine at a time; the next one is served when the one before has left. */
export class VhostUserBlkExport {
  readonly id: string;
  readonly #runtime: IOThreadRuntime;
  readonly #socket: ListeningSocket;
  readonly #listener: Listener;
  readonly #device: ExportedDevice;
  readonly #owner: SessionOwner;
  readonly #served: Promise<void>;
  #session: Session | undefined;
  #closing: Promise<void> | undefined;

  private constructor(
    runtime: IOThreadRuntime,
    options: VhostUserBlkOptions,
    device: ExportedDevice,
    socket: ListeningSocket,
    log: ExportLog,
  ) {
    this.id = options.id;
    this.#runtime = runtime;
    this.#device = device;
    this.#socket = socket;
    this.#listener = new Listener(socket.fd);
    this.#owner = {
      device,
      writeCache: new WriteCache(device, options.writeThrough !== true),
      log,
      numQueuesGiven: options.numQueues !== undefined,
    };
    device.onNeedsReset(() => {
      if (this.#session === undefined) return;
      log.error('queues were lost with their iothread: connection closed, the front end can connect again');
      this.#session.stop();
    });
    this.#served = this.#serve(options.admission);
  }

  /**
   * Listens, and serves whoever connects.
   * @param log told what the operator should know of this export, a few lines a second at most but for errors
   * @throws VhostUserError when it can't listen there; IOThreadError `ERR_CONFIG`, `ERR_DUPLICATE_ID`, `ERR_UNKNOWN_IOTHREAD`
   */
  static async start(
    runtime: IOThreadRuntime,
    options: VhostUserBlkOptions,
    log: Log,
  ): Promise<VhostUserBlkExport> {
    const { id, iothreads, drive, writable, writeThrough, logicalBlockSize, numQueues } = options;
    const { drainTimeoutMs, werror, rerror } = options;
    const device = await runtime.addExport({
      id,
      iothreads,
      drive,
      numQueues: numQueues ?? DEFAULT_NUM_QUEUES,
      readOnly: !writable,
      writeback: writeThrough !== true,
      ...(logicalBlockSize === undefined ? {} : { logicalBlockSize }),
      ...(drainTimeoutMs === undefined ? {} : { drainTimeoutMs }),
      ...(werror === undefined ? {} : { werror }),
      ...(rerror === undefined ? {} : { rerror }),
    });
    let socket: ListeningSocket;
    try {
      socket = openListeningSocket(options.address);
    } catch (error) {
      await runtime.removeDevice(id);
      throw error;
    }
    return new VhostUserBlkExport(runtime, options, device, socket, new ExportLog(log));
  }

  /** Queues that a front end can use. */
  get numQueues(): number {
    return this.#device.numQueues;
  }

  /** Whether a front end is served at the moment. */
  get connected(): boolean {
    return this.#session !== undefined;
  }

  /** Anything but 'ok': it is paused with requests that its disk has failed. */
  get ioStatus(): IOStatus {
    return this.#device.ioStatus;
  }

  /** Goes on after a pause, with these requests. @returns whether it was paused */
  continue(): Promise<boolean> {
    return this.#device.continue();
  }

  /** The disk has another size: the front end is told. */
  async resize(drive: PreparedDrive): Promise<void> {
    await this.#device.resize(drive);
    this.#session?.configChanged();
  }

  /** Disconnects when nothing is in flight any more, and removes the socket. What never completes is given up. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.#listener.close();
    this.#session?.stop();
    await this.#served;
    await this.#runtime.removeDevice(this.id);
    this.#socket.remove();
  }

  async #serve(admission: Promise<void> | undefined): Promise<void> {
    const { log, writeCache } = this.#owner;
    if (admission !== undefined) await Promise.race([admission, this.#listener.closed]);
    for (;;) {
      const fd = await this.#listener.accept((error) => {
        log.warning(`no connection can be taken: ${error.message}`);
      });
      if (fd === undefined) return;
      if (this.#closing !== undefined) {
        // It came in the same moment: nobody would end its session.
        closeFd(fd);
        return;
      }
      this.#session = new Session(new Connection(fd), this.#owner);
      await this.#session.run();
      await this.#end(this.#session);
      this.#session.disconnect();
      writeCache.disconnected();
      this.#session = undefined;
    }
  }

  /** Memory that requests are in flight for stays mapped; nobody else is served before they are done. */
  async #end(session: Session): Promise<void> {
    for (;;) {
      try {
        await session.end();
        return;
      } catch (error) {
        const last = this.#closing !== undefined;
        const late = error instanceof IOThreadError && error.code === 'ERR_DRAIN_TIMEOUT';
        const consequence = late && !last ? 'waiting on' : 'its memory stays mapped';
        this.#owner.log.error(`${(error as Error).message}: ${consequence}`);
        if (!late || last) return;
      }
    }
  }
}
