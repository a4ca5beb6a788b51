import { type Commands, NONE, urgent } from '../command.js';

export const supervisionCommands: Commands = {
  // QEMU's daemon has no supervisor.
  'x-query-supervision': urgent(NONE, ({ supervision: { supervisorPid, restarts } }) => ({
    pid: process.pid,
    ...(supervisorPid === undefined ? {} : { 'supervisor-pid': supervisorPid }),
    restarts: restarts.count,
    'recent-restarts': restarts.recent.map(({ timeMs, reason }) => ({
      timestamp: { seconds: Math.floor(timeMs / 1000), microseconds: (timeMs % 1000) * 1000 },
      reason,
    })),
  })),
};
