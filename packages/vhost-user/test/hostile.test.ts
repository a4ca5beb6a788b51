// What hostile front ends get from an export in this process; test/hostile has a real daemon serve them.
import { afterAll, beforeAll } from 'vitest';
import { until } from '../../../test/support/within.js';
import { closeRigs, ExportRig } from './support/export-rig.js';
import { describeHostileMessages } from './support/hostile-messages.js';
import { guestMappings, openFds } from './support/open-fds.js';

let rig: ExportRig;

beforeAll(async () => {
  rig = await ExportRig.start();
});

afterAll(closeRigs);

describeHostileMessages(() => ({
  prepare: async () => {
    await rig.renew({ numQueues: 2 });
    // Whatever is opened once and kept is open by now.
    await (await rig.connect()).close();
    await until('nobody is connected', () => !rig.server.connected);
  },
  connectBare: () => rig.connectBare(),
  connect: (options) => rig.connect(options),
  openFds,
  guestMappings,
  messages: (level) => rig.messages(level),
  tellsAll: true,
  expectUnharmed: async () => undefined,
}));
