import type { DriveOptions, FaultRules, HeldDrive, PreparedDrive, WriteLog } from '@iothreads/backends';
import type { BlockdevOptions } from './options/blockdev-options.js';

/** A disk under a name. */
export interface BlockNode {
  readonly name: string;
  readonly options: BlockdevOptions;
  /** What the runtime's drivers make of it. */
  readonly drive: DriveOptions;
  /** Open for as long as the node exists; all but a window is opened by the node at the bottom. */
  readonly held: HeldDrive;
  /** Of a blkdebug node. */
  readonly faults?: FaultRules | undefined;
  /** Of a blklogwrites node. */
  readonly log?: WriteLog | undefined;
  readonly child: BlockNode | undefined;
  /** The child was described in place, and goes with this node. */
  readonly ownsChild: boolean;
  /** A part of its child. */
  readonly window: boolean;
  /** Nodes that have this one as a child. */
  readonly parents: Set<BlockNode>;
  /** Ids of the exports that serve it. */
  readonly exports: Set<string>;
}

export function isReadOnly(node: BlockNode): boolean {
  return node.held.prepared.geometry.readOnly || node.options['read-only'] === true;
}

/** The drive as exports of this node see it. */
export function preparedDrive(node: BlockNode): PreparedDrive {
  const { prepared } = node.held;
  if (!isReadOnly(node)) return prepared;
  return {
    ...prepared,
    geometry: { ...prepared.geometry, readOnly: true, discard: false, writeZeroes: false },
  };
}

/** The node that opens the drive which this one serves. */
export function holderOf(node: BlockNode): BlockNode {
  let holder = node;
  while (holder.child !== undefined && !holder.window) holder = holder.child;
  return holder;
}
