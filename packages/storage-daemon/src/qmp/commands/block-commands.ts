import type { FaultRules } from '@iothreads/backends';
import { faultRules, injectError, injectErrorSchema } from '@iothreads/backends/blockdev';
import { stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import * as v from 'valibot';
import { type BlockNode, holderOf, isReadOnly } from '../../block-node.js';
import { blockdevSchemas } from '../../options/blockdev-options.js';
import { fields } from '../../options/check-options.js';
import { scalars } from '../../options/scalars.js';
import { StorageDaemonError } from '../../storage-daemon-error.js';
import { command, type Commands, urgent } from '../command.js';

const { text, onOff, integer } = scalars('json');
const nodeName = fields({ 'node-name': text });

export const blockCommands: Commands = {
  'blockdev-add': command(blockdevSchemas.json, async ({ graph }, options) => {
    await graph.add(options);
  }),

  'blockdev-del': command(nodeName, async ({ graph }, args) => {
    await graph.delete(args['node-name']);
  }),

  block_resize: command(
    fields({ device: v.optional(text), 'node-name': v.optional(text), size: integer(0) }),
    async ({ graph, exports }, { device, 'node-name': name = device, size }) => {
      if (name === undefined) {
        throw new StorageDaemonError('ERR_PARAMETER', "Parameter 'node-name' is missing");
      }
      const { nodes } = await graph.resize(name, size);
      await exports.resized(nodes);
    },
  ),

  'x-blkdebug-set-rules': urgent(
    fields({ 'node-name': text, 'inject-error': injectErrorSchema(scalars('json')) }),
    ({ graph }, { 'node-name': name, 'inject-error': rules }) => {
      faultsOf(graph.find(name)).set(faultRules(rules));
    },
  ),

  'x-blkdebug-query': urgent(nodeName, ({ graph }, { 'node-name': name }) =>
    faultsOf(graph.find(name))
      .query()
      .map(({ rule, seen, fired }) => ({ ...injectError(rule), seen, fired })),
  ),

  'query-named-block-nodes': urgent(fields({ flat: v.optional(onOff) }), ({ graph }) =>
    // Newest first, as QEMU has them.
    Promise.all(graph.list().toReversed().map(describeNode)),
  ),
};

function faultsOf({ name, faults }: BlockNode): FaultRules {
  if (faults !== undefined) return faults;
  throw new StorageDaemonError('ERR_PARAMETER', `Node '${name}' is no blkdebug node`);
}

async function describeNode(node: BlockNode): Promise<object> {
  const { name, options, held } = node;
  const filename = filenameOf(node);
  const actualSize = await allocatedBytes(node);
  return {
    'node-name': name,
    drv: options.driver,
    ro: isReadOnly(node),
    file: filename,
    encrypted: false,
    detect_zeroes: 'off',
    backing_file_depth: 0,
    write_threshold: 0,
    cache: {
      writeback: true,
      direct: options.cache?.direct ?? false,
      'no-flush': options.cache?.['no-flush'] ?? false,
    },
    image: {
      filename,
      format: options.driver,
      'virtual-size': held.prepared.geometry.sizeBytes,
      ...(actualSize === undefined ? {} : { 'actual-size': actualSize }),
    },
    bps: 0,
    bps_rd: 0,
    bps_wr: 0,
    iops: 0,
    iops_rd: 0,
    iops_wr: 0,
  };
}

/** A file's name, and for other disks QEMU's way to write them as one. */
function filenameOf({ options, child }: BlockNode): string {
  switch (options.driver) {
    case 'file':
      return options.filename;
    case 'module':
      return options.url;
    case 'raw': {
      if (options.offset === undefined && options.size === undefined) return filenameOf(child!);
      const { driver, offset, size } = options;
      return `json:${JSON.stringify({ driver, offset, size, file: child!.name })}`;
    }
    case 'blkdebug':
      return `json:${JSON.stringify({ driver: options.driver, image: child!.name })}`;
    case 'blklogwrites':
      return `json:${JSON.stringify({ driver: options.driver, file: child!.name, log: options.log })}`;
    default:
      return `${options.driver}://`;
  }
}

/** What a file takes on its disk; 0 for disks that are no files. */
async function allocatedBytes(node: BlockNode): Promise<number | undefined> {
  let leaf = holderOf(node);
  while (leaf.child !== undefined) leaf = leaf.child;
  if (leaf.options.driver !== 'file') return 0;
  try {
    return (await stat(resolve(leaf.options.filename))).blocks * 512;
  } catch {
    // Renamed or removed since it was opened: nothing to tell.
    return undefined;
  }
}
