import * as v from 'valibot';
import type { BlockNode } from '../../block-node.js';
import { fields } from '../../options/check-options.js';
import { scalars } from '../../options/scalars.js';
import type { StorageDaemon } from '../../storage-daemon.js';
import { StorageDaemonError } from '../../storage-daemon-error.js';
import { exportStatistics, type HistogramBoundaries, nodeStatistics } from '../block-statistics.js';
import { command, type Commands, urgent } from '../command.js';

const { text, onOff, integer } = scalars('json');

export const MAX_BOUNDARIES = 1024;
const boundariesSchema = v.pipe(
  v.array(integer(1), "Invalid parameter type for '%', expected: array"),
  v.maxLength(MAX_BOUNDARIES, `takes at most ${MAX_BOUNDARIES} boundaries`),
  v.check(
    (list) => list.every((boundary, index) => index === 0 || boundary > list[index - 1]!),
    'must be in ascending order, without duplicates',
  ),
);

/** How clients want to see the latencies of a node; gone with it. */
const boundariesOf = new WeakMap<BlockNode, HistogramBoundaries>();

export const statisticsCommands: Commands = {
  'query-blockstats': urgent(
    fields({ 'query-nodes': v.optional(onOff) }),
    async ({ graph, exports, iothreads }) => {
      const used = exports.list().length > 0;
      const reports = used ? await (await iothreads.runtime()).queryBlockStats() : [];
      return graph.list().map((node) => {
        const ofNode = reports.filter(({ id }) => node.exports.has(id));
        return {
          'node-name': node.name,
          stats: nodeStatistics(ofNode, boundariesOf.get(node) ?? {}),
          'x-exports': ofNode.map(exportStatistics),
        };
      });
    },
  ),

  // Latencies are always counted: this says which boundaries they are told in, all of one kind or none for the finest.
  'block-latency-histogram-set': command(
    fields({
      id: text,
      boundaries: v.optional(boundariesSchema),
      'boundaries-read': v.optional(boundariesSchema),
      'boundaries-write': v.optional(boundariesSchema),
      'boundaries-flush': v.optional(boundariesSchema),
    }),
    (daemon, { id, boundaries: all, ...of }) => {
      const given = {
        rd: of['boundaries-read'] ?? all,
        wr: of['boundaries-write'] ?? all,
        flush: of['boundaries-flush'] ?? all,
        unmap: all,
      };
      const set = Object.entries(given).filter(([, boundaries]) => boundaries !== undefined);
      const node = nodeOf(daemon, id);
      if (set.length === 0) boundariesOf.delete(node);
      else boundariesOf.set(node, { ...boundariesOf.get(node), ...Object.fromEntries(set) });
    },
  ),
};

/** The node that is called `id`, or that the export of this id serves. */
function nodeOf({ graph, exports }: StorageDaemon, id: string): BlockNode {
  const node =
    graph.list().find(({ name }) => name === id) ?? exports.list().find((each) => each.id === id)?.node;
  if (node === undefined) throw new StorageDaemonError('ERR_NOT_FOUND', `Device '${id}' not found`);
  return node;
}
