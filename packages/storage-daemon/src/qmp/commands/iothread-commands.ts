import * as v from 'valibot';
import { fields } from '../../options/check-options.js';
import { reading, scalars } from '../../options/scalars.js';
import { command, type Commands, NONE, urgent } from '../command.js';

const { text, onOff } = scalars('json');

/** The name of an iothread, or null for the daemon's own. */
const textOrNull = v.lazy((value): v.GenericSchema<unknown, string | null> =>
  value === null ? reading(() => null) : text,
);

export const iothreadCommands: Commands = {
  // QEMU's fields; what only this daemon can tell begins with x-.
  'query-iothreads': urgent(NONE, async ({ iothreads }) =>
    (await iothreads.query()).map((report) => ({
      id: report.id,
      'thread-id': report.threadId,
      'poll-max-ns': report.pollMaxNs,
      'poll-grow': report.pollGrow,
      'poll-shrink': report.pollShrink,
      'aio-max-batch': report.aioMaxBatch,
      'x-alive': report.alive,
      'x-restarts': report.restarts,
      'x-poll-ns': report.pollNs,
      'x-devices': report.devices,
      'x-sync-allowed': report.syncAllowed,
    })),
  ),

  'x-blockdev-set-iothread': command(
    // Moving is safe at any time, so there is nothing to force.
    fields({ 'node-name': text, iothread: textOrNull, force: v.optional(onOff) }),
    async ({ graph, exports }, args) => {
      await exports.move(graph.find(args['node-name']), args.iothread);
    },
  ),
};
