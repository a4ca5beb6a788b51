import { chardevAddSchema } from '../../options/chardev-options.js';
import { fields } from '../../options/check-options.js';
import { scalars } from '../../options/scalars.js';
import { command, type Commands, NONE, urgent } from '../command.js';

const { text } = scalars('json');

export const chardevCommands: Commands = {
  'chardev-add': command(chardevAddSchema, async ({ chardevs }, options) => {
    await chardevs.add(options);
  }),

  'chardev-remove': command(fields({ id: text }), async ({ chardevs }, { id }) => {
    await chardevs.remove(id);
  }),

  'query-chardev': urgent(NONE, ({ chardevs }) =>
    chardevs.list().map(({ id, description, connected }) => ({
      label: id,
      filename: description,
      'frontend-open': connected,
    })),
  ),
};
