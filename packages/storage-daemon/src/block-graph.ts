import type { DriveOptions, HeldDrive, PreparedDrive } from '@iothreads/backends';
import { innerDrive, isNested, nestedOptions } from '@iothreads/backends/blockdev';
import { filterOver } from './block-filters.js';
import { type BlockNode, holderOf } from './block-node.js';
import { isExpected } from './describe-error.js';
import { driveOptions, inheritOptions, unlocked } from './drive-options.js';
import type { Log } from './log.js';
import type {
  BlockdevOptions,
  LeafBlockdev,
  NestedBlockdev,
  RawBlockdev,
} from './options/blockdev-options.js';
import { checkRoom, StorageDaemonError } from './storage-daemon-error.js';

/** What the system says of images that may be read but not written. */
const NOT_WRITABLE = new Set(['EACCES', 'EPERM', 'EROFS']);

/** Nodes that there can be. They may stand on each other, and are gone through from top to bottom. */
export const MAX_NODES = 4096;

/** The nodes by their names, and which of them are made of others. */
export class BlockGraph {
  readonly #log: Log;
  readonly #nodes = new Map<string, BlockNode>();
  #generated = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  /**
   * Makes a node, and the children that are described in it. Its drive is open when this resolves.
   * @throws StorageDaemonError `ERR_PARAMETER`, `ERR_DUPLICATE_ID`, `ERR_NOT_FOUND`, `ERR_LIMIT`
   * @throws BlockDriverError when the drive can't be used
   */
  async add(options: BlockdevOptions): Promise<BlockNode> {
    if (options['node-name'] === undefined) {
      throw new StorageDaemonError('ERR_PARAMETER', "'node-name' must be specified for the root node");
    }
    return this.#add(options);
  }

  async #add(options: BlockdevOptions): Promise<BlockNode> {
    checkRoom(this.#nodes.size, MAX_NODES, 'nodes');
    const name = options['node-name'] ?? `#block${String(this.#generated++).padStart(3, '0')}`;
    if (this.#nodes.has(name)) {
      throw new StorageDaemonError('ERR_DUPLICATE_ID', `Duplicate nodes with node-name='${name}'`);
    }
    const node = isNested(options) ? await this.#nested(name, options) : await this.#leaf(name, options);
    this.#nodes.set(name, node);
    node.child?.parents.add(node);
    return node;
  }

  async #leaf(name: string, options: LeafBlockdev): Promise<BlockNode> {
    const drive = driveOptions(options);
    const held = await this.#hold(drive, options);
    const shape = { child: undefined, ownsChild: false, window: false };
    return { name, options, drive, held, ...shape, parents: new Set(), exports: new Set() };
  }

  async #nested(name: string, options: NestedBlockdev): Promise<BlockNode> {
    const { inner } = innerDrive(options);
    const ownsChild = typeof inner !== 'string';
    const child =
      typeof inner === 'string' ? this.find(inner) : await this.#add(inheritOptions(options, inner));
    try {
      // An inline child may have taken the name meanwhile.
      if (this.#nodes.has(name)) {
        throw new StorageDaemonError('ERR_DUPLICATE_ID', `Duplicate nodes with node-name='${name}'`);
      }
      const node =
        options.driver === 'raw' ? await this.#raw(options, child) : await filterOver(options, child);
      return { name, options, ...node, child, ownsChild, parents: new Set(), exports: new Set() };
    } catch (error) {
      if (ownsChild) await this.#remove(child);
      throw error;
    }
  }

  async #raw(options: RawBlockdev, child: BlockNode): Promise<Pick<BlockNode, 'drive' | 'held' | 'window'>> {
    const window = options.offset !== undefined || options.size !== undefined;
    if (!window) return { drive: child.drive, held: child.held, window };
    const drive = nestedOptions(options, unlocked(child.drive));
    return { drive, held: await this.#hold(drive, { ...options, ...readOnlyOf(child) }), window };
  }

  async #hold(drive: DriveOptions, options: BlockdevOptions): Promise<HeldDrive> {
    const { holdDrive } = await import('@iothreads/backends');
    const readOnly = options['read-only'] === true;
    let held: HeldDrive;
    try {
      held = await holdDrive(drive, readOnly, options.driver);
    } catch (error) {
      const mayFallBack = options['auto-read-only'] === true && !readOnly;
      if (!mayFallBack || !isExpected(error) || !NOT_WRITABLE.has(error.code)) throw error;
      held = await holdDrive(drive, true, options.driver);
    }
    for (const notice of held.notices) this.#log.write('warning', notice);
    return held;
  }

  /** @throws StorageDaemonError `ERR_NOT_FOUND` */
  find(name: string): BlockNode {
    const node = this.#nodes.get(name);
    if (node === undefined) {
      throw new StorageDaemonError(
        'ERR_NOT_FOUND',
        `Cannot find device='${name}' nor node-name='${name}'; a node has to be made before it is used`,
      );
    }
    return node;
  }

  /** @throws StorageDaemonError `ERR_NOT_FOUND`, `ERR_IN_USE` */
  async delete(name: string): Promise<void> {
    const node = this.#nodes.get(name);
    if (node === undefined) {
      throw new StorageDaemonError('ERR_NOT_FOUND', `Failed to find node with node-name='${name}'`);
    }
    const users = [
      ...[...node.exports].map((id) => `export '${id}'`),
      ...[...node.parents].map((parent) => `node '${parent.name}'`),
    ];
    if (users.length > 0) {
      throw new StorageDaemonError('ERR_IN_USE', `Node ${name} is in use by ${users.join(' and ')}`);
    }
    await this.#remove(node);
  }

  async #remove(node: BlockNode): Promise<void> {
    this.#nodes.delete(node.name);
    const { child } = node;
    child?.parents.delete(node);
    await closeNode(node);
    // A child with a name may have found other users; it stays for them.
    if (child !== undefined && node.ownsChild && child.parents.size === 0 && child.exports.size === 0) {
      await this.#remove(child);
    }
  }

  /**
   * Changes the size of a node's drive.
   * @returns the drive, and the nodes that serve it and so have changed
   * @throws StorageDaemonError `ERR_NOT_FOUND`, `ERR_IN_USE`, `ERR_READ_ONLY`
   * @throws BlockDriverError when it has a size for good
   */
  async resize(name: string, sizeBytes: number): Promise<{ drive: PreparedDrive; nodes: BlockNode[] }> {
    const holder = holderOf(this.find(name));
    if (holder.window) {
      throw new StorageDaemonError(
        'ERR_NOT_SUPPORTED',
        `Cannot resize node '${holder.name}': it is a part of '${holder.child!.name}', its size is fixed`,
      );
    }
    const above = this.list().filter((node) => node.window && holderOf(node.child!) === holder);
    if (above.length > 0) {
      const names = above.map((node) => `'${node.name}'`).join(', ');
      throw new StorageDaemonError('ERR_IN_USE', `Cannot resize node '${name}': ${names} is a part of it`);
    }
    const drive = await holder.held.resize(sizeBytes);
    return { drive, nodes: this.list().filter((node) => holderOf(node) === holder) };
  }

  list(): readonly BlockNode[] {
    return [...this.#nodes.values()];
  }

  /** Closes all drives; those that can't be closed are told in the log. */
  async close(): Promise<void> {
    const nodes = this.list();
    this.#nodes.clear();
    // Windows first: children are made before their parents.
    for (const node of nodes.toReversed()) {
      await closeNode(node).catch((error: unknown) => {
        const message = error instanceof Error ? error.message : String(error);
        this.#log.write('error', `node '${node.name}': ${message}`);
      });
    }
  }
}

/** Closes what the node itself has opened. */
async function closeNode(node: BlockNode): Promise<void> {
  node.log?.close();
  if (holderOf(node) === node) await node.held.close();
}

/** A window onto what can't be written can't be written either. */
function readOnlyOf(child: BlockNode): { readonly 'read-only'?: true } {
  return child.held.prepared.geometry.readOnly ? { 'read-only': true } : {};
}
