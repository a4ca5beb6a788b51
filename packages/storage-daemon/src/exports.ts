import type { VhostUserBlkExport } from '@iothreads/vhost-user';
import type { BlockGraph } from './block-graph.js';
import { type BlockNode, isReadOnly, preparedDrive } from './block-node.js';
import { describeError } from './describe-error.js';
import type { IOThreads } from './iothreads.js';
import type { Log } from './log.js';
import type { ExportOptions } from './options/export-options.js';
import { checkRoom, StorageDaemonError } from './storage-daemon-error.js';

/** Exports that there can be: each has a thread's attention, a socket and room for requests. */
export const MAX_EXPORTS = 1024;

/** An export and what it is made of. */
export interface BlockExport {
  readonly id: string;
  readonly node: BlockNode;
  readonly options: ExportOptions;
  readonly server: VhostUserBlkExport;
  /** It is being removed: what is in flight is waited for. */
  closing: boolean;
}

/** The exports by their ids. */
export class Exports {
  readonly #graph: BlockGraph;
  readonly #iothreads: IOThreads;
  readonly #log: Log;
  readonly #admission: Promise<void>;
  readonly #exports = new Map<string, BlockExport>();

  /** @param admission resolves when front ends may be served */
  constructor(graph: BlockGraph, iothreads: IOThreads, log: Log, admission: Promise<void>) {
    this.#graph = graph;
    this.#iothreads = iothreads;
    this.#log = log;
    this.#admission = admission;
  }

  /**
   * Serves a node; front ends can connect once this resolves.
   * @throws StorageDaemonError, VhostUserError, IOThreadError
   */
  async add(options: ExportOptions): Promise<void> {
    const { id } = options;
    if (this.#exports.has(id)) {
      throw new StorageDaemonError('ERR_DUPLICATE_ID', `Block export id '${id}' is already in use`);
    }
    checkRoom(this.#exports.size, MAX_EXPORTS, 'exports');
    const node = this.#graph.find(options['node-name']);
    const writable = options.writable === true;
    if (writable && isReadOnly(node)) {
      throw new StorageDaemonError(
        'ERR_READ_ONLY',
        `Cannot export read-only node '${node.name}' as writable: leave writable=on out of export '${id}', or read-only=on out of the node`,
      );
    }
    const named = iothreadsOf(options);
    const numQueues = options['num-queues'];
    if (numQueues !== undefined && named.length > numQueues) {
      throw new StorageDaemonError(
        'ERR_PARAMETER',
        `Parameter 'num-queues' is ${numQueues}, but ${named.length} iothreads are to share the queues: name fewer, or ask for more queues`,
      );
    }
    const [iothreads, { VhostUserBlkExport }] = await Promise.all([
      this.#iothreads.resolve(named),
      // Loaded while iothreads start.
      import('@iothreads/vhost-user'),
    ]);
    const { addr, werror, rerror } = options;
    const server = await VhostUserBlkExport.start(
      await this.#iothreads.runtime(),
      {
        id,
        drive: preparedDrive(node),
        address: addr.type === 'unix' ? addr : { type: 'fd', fd: addr.str },
        writable,
        writeThrough: options.writethrough ?? false,
        logicalBlockSize: options['logical-block-size'] ?? 512,
        numQueues,
        iothreads,
        admission: this.#admission,
        ...(werror === undefined || werror === 'auto' ? {} : { werror }),
        ...(rerror === undefined || rerror === 'auto' ? {} : { rerror }),
      },
      (level, message) => {
        this.#log.write(level, `export '${id}': ${message}`);
      },
    );
    node.exports.add(id);
    this.#iothreads.use(id, iothreads);
    this.#exports.set(id, { id, node, options, server, closing: false });
  }

  /**
   * @param hard although a front end is connected
   * @throws StorageDaemonError `ERR_NOT_FOUND`, `ERR_IN_USE`
   */
  async delete(id: string, hard: boolean): Promise<void> {
    const found = this.#named(id);
    if (!hard && found.server.connected) {
      throw new StorageDaemonError(
        'ERR_IN_USE',
        `export '${id}' still in use; use mode='hard' to force client disconnect`,
      );
    }
    await this.#close(found);
  }

  async #close(found: BlockExport): Promise<void> {
    const { id, node, server } = found;
    found.closing = true;
    try {
      await server.close();
    } finally {
      this.#exports.delete(id);
      node.exports.delete(id);
      this.#iothreads.use(id, []);
    }
  }

  /** Tells the front ends of these nodes that the size has changed. */
  async resized(nodes: readonly BlockNode[]): Promise<void> {
    for (const { node, server } of this.list()) {
      if (nodes.includes(node)) await server.resize(preparedDrive(node));
    }
  }

  /**
   * Moves the exports of a node to another iothread, or the daemon's own.
   * @throws StorageDaemonError `ERR_NOT_FOUND`, `ERR_IN_USE`, IOThreadError
   */
  async move(node: BlockNode, iothread: string | null): Promise<void> {
    const exports = this.list().filter((each) => each.node === node);
    const fixed = exports.find(({ options }) => options['fixed-iothread'] === true);
    if (fixed !== undefined) {
      throw new StorageDaemonError(
        'ERR_IN_USE',
        `Cannot change iothread of node '${node.name}': export '${fixed.id}' has fixed-iothread=on`,
      );
    }
    const iothreads = await this.#iothreads.resolve(iothread === null ? [] : [iothread]);
    const runtime = await this.#iothreads.runtime();
    for (const { id } of exports) {
      await runtime.moveDevice(id, iothreads[0]!);
      this.#iothreads.use(id, iothreads);
    }
  }

  find(id: string): BlockExport | undefined {
    return this.#exports.get(id);
  }

  /**
   * Ends the pause of an export, or of all that are paused.
   * @throws StorageDaemonError `ERR_NOT_FOUND`
   */
  async continue(id: string | undefined): Promise<void> {
    const named = id === undefined ? this.list() : [this.#named(id)];
    for (const each of named) {
      if (await each.server.continue()) this.#log.write('info', `export '${each.id}': goes on`);
    }
  }

  #named(id: string): BlockExport {
    const found = this.#exports.get(id);
    if (found === undefined) throw new StorageDaemonError('ERR_NOT_FOUND', `Export '${id}' is not found`);
    return found;
  }

  list(): readonly BlockExport[] {
    return [...this.#exports.values()];
  }

  /** Drains and ends all exports; what goes wrong is told in the log. */
  async close(): Promise<void> {
    await Promise.all(
      this.list().map(async (each) => {
        try {
          await this.#close(each);
        } catch (error) {
          this.#log.write('error', `export '${each.id}': ${describeError(error)}`);
        }
      }),
    );
  }
}

function iothreadsOf({ iothread }: ExportOptions): readonly string[] {
  if (iothread === undefined) return [];
  return typeof iothread === 'string' ? [iothread] : iothread;
}
