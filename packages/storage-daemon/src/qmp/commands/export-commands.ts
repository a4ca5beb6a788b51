import * as v from 'valibot';
import { fields } from '../../options/check-options.js';
import { exportSchemas } from '../../options/export-options.js';
import { scalars } from '../../options/scalars.js';
import { command, type Commands, NONE, urgent } from '../command.js';

const { text, choice } = scalars('json');

export const exportCommands: Commands = {
  'block-export-add': command(exportSchemas.json, async ({ exports }, options) => {
    await exports.add(options);
  }),

  'block-export-del': command(
    fields({ id: text, mode: v.optional(choice(['safe', 'hard']), 'safe') }),
    async ({ exports, monitors }, { id, mode }) => {
      await exports.delete(id, mode === 'hard');
      monitors.notify('BLOCK_EXPORT_DELETED', { id });
    },
  ),

  'query-block-exports': urgent(NONE, ({ exports }) =>
    exports.list().map(({ id, options, node, server, closing }) => ({
      id,
      type: options.type,
      'node-name': node.name,
      'shutting-down': closing,
      // QEMU has it of a drive that a guest's device uses.
      'io-status': server.ioStatus,
    })),
  ),

  // QEMU's goes on with the whole machine.
  cont: urgent(fields({ id: v.optional(text) }), async ({ exports }, { id }) => {
    await exports.continue(id);
  }),
};
