import { fields } from '../../options/check-options.js';
import { objectSchemas } from '../../options/object-options.js';
import { scalars } from '../../options/scalars.js';
import type { StorageDaemon } from '../../storage-daemon.js';
import { StorageDaemonError } from '../../storage-daemon-error.js';
import { command, type Commands } from '../command.js';

const { text } = scalars('json');

const INTEGER_PROPERTIES = ['aio-max-batch', 'poll-max-ns', 'poll-grow', 'poll-shrink'] as const;

export const objectCommands: Commands = {
  'object-add': command(objectSchemas.json, async ({ iothreads }, options) => {
    await iothreads.add(options);
  }),

  'object-del': command(fields({ id: text }), async ({ iothreads }, { id }) => {
    await iothreads.remove(id);
  }),

  'qom-list': command(fields({ path: text }), ({ iothreads, chardevs }, { path }) => {
    const type = { name: 'type', type: 'string' };
    const container = (name: string) => ({ name, type: 'child<container>' });
    switch (path) {
      case '/':
        return [type, container('objects'), container('chardevs')];
      case '/objects':
        return [type, ...iothreads.ids().map((name) => ({ name, type: 'child<iothread>' }))];
      case '/chardevs':
        return [
          type,
          ...chardevs.list().map(({ id, kind }) => ({ name: id, type: `child<chardev-${kind}>` })),
        ];
      default:
        if (!iothreads.ids().some((id) => path === `/objects/${id}`)) throw notFound(path);
        return [type, ...INTEGER_PROPERTIES.map((name) => ({ name, type: 'int' }))];
    }
  }),

  'qom-get': command(fields({ path: text, property: text }), async (daemon, { path, property }) => {
    const properties = await propertiesOf(daemon, path);
    if (!Object.hasOwn(properties, property)) {
      throw new StorageDaemonError('ERR_NOT_FOUND', `Property 'iothread.${property}' not found`);
    }
    return properties[property];
  }),
};

async function propertiesOf({ iothreads }: StorageDaemon, path: string): Promise<Record<string, unknown>> {
  const report = (await iothreads.query()).find(({ id }) => path === `/objects/${id}`);
  if (report === undefined) throw notFound(path);
  return {
    type: 'iothread',
    'aio-max-batch': report.aioMaxBatch,
    'poll-max-ns': report.pollMaxNs,
    'poll-grow': report.pollGrow,
    'poll-shrink': report.pollShrink,
  };
}

function notFound(path: string): StorageDaemonError {
  return new StorageDaemonError('ERR_DEVICE_NOT_FOUND', `Device '${path}' not found`);
}
