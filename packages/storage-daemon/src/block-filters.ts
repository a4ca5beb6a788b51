import type { BlockNode } from './block-node.js';
import { faultRules } from '@iothreads/backends/blockdev';
import { unlocked } from './drive-options.js';
import type { BlkdebugBlockdev, BlklogwritesBlockdev } from './options/blockdev-options.js';

/** What makes a node a filter over another, which stays the one that has the drive open. */
type Filter = Pick<BlockNode, 'drive' | 'held' | 'window' | 'faults' | 'log'>;

/**
 * Made here, beside the drives: a node and the windows onto it have the same rules, and the same log.
 * @throws BlockDriverError
 */
export async function filterOver(
  options: BlkdebugBlockdev | BlklogwritesBlockdev,
  child: BlockNode,
): Promise<Filter> {
  const { blkdebugDrive, blklogwritesDrive, FaultRules, WriteLog } = await import('@iothreads/backends');
  const below = unlocked(child.drive);
  if (options.driver === 'blkdebug') {
    const faults = new FaultRules(faultRules(options['inject-error'] ?? []), options.seed);
    const drive = { driver: 'blkdebug', image: below, rules: faults } as const;
    return { drive, held: blkdebugDrive(child.held, faults), window: false, faults };
  }
  const log = new WriteLog(options.log.filename);
  const drive = { driver: 'blklogwrites', file: below, log } as const;
  return { drive, held: blklogwritesDrive(child.held, log), window: false, log };
}
