import {
  type BlkdebugBlockdev as Blkdebug,
  type BlklogwritesBlockdev as Blklogwrites,
  type BlockdevOptions as Blockdev,
  blockdevSchema,
  type LeafBlockdev as Leaf,
  type NestedBlockdev as Nested,
  type RawBlockdev as Raw,
} from '@iothreads/backends/blockdev';
import * as v from 'valibot';
import { inBothDialects, isWellFormedId, textThat } from './scalars.js';

/** What makes a drive a node. */
interface NodeOptions {
  readonly 'node-name'?: string | undefined;
  /** Read-only where the image can't be written, instead of an error. */
  readonly 'auto-read-only'?: boolean | undefined;
}

/** A node as `--blockdev` and `blockdev-add` describe it. */
export type BlockdevOptions = Blockdev<NodeOptions>;
/** A node that is made of another. */
export type NestedBlockdev = Nested<NodeOptions>;
/** A node that is a window onto another, or the other itself. */
export type RawBlockdev = Raw<NodeOptions>;
/** A node that has another's requests fail. */
export type BlkdebugBlockdev = Blkdebug<NodeOptions>;
/** A node that records what is written to another. */
export type BlklogwritesBlockdev = Blklogwrites<NodeOptions>;
/** A node that is made of no other. */
export type LeafBlockdev = Leaf<NodeOptions>;

const MAX_NODE_NAME = 31;
const WELL_FORMED = `a letter, then letters, digits, '-', '.' and '_', at most ${MAX_NODE_NAME} characters`;

export const blockdevSchemas = inBothDialects<BlockdevOptions>((words) =>
  blockdevSchema<NodeOptions>(words, {
    'node-name': v.optional(
      textThat(
        words.text,
        (name) => isWellFormedId(name) && name.length <= MAX_NODE_NAME,
        (name) => `is no valid node name: '${name}' (${WELL_FORMED})`,
      ),
    ),
    'auto-read-only': v.optional(words.onOff),
  }),
);
