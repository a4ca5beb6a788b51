import { join } from 'node:path';
import { ClientProcess } from './client.js';
import { type Footprint, median, type Side } from './daemon-results.js';
import { daemonArguments, nullDisk } from './disks.js';
import type { DaemonPlan } from './measure-cells.js';
import { StorageDaemonProcess } from './storage-daemon-process.js';

const MANY_EXPORTS = 64;
const MANY_IOTHREADS = 4;

/** How long a daemon takes to start, and how much memory it takes with one export under load and with many idle ones. */
export async function measureFootprint(plan: DaemonPlan, side: Side): Promise<Footprint> {
  const starts: number[] = [];
  let residentMib = 0;
  for (let round = 0; round < plan.rounds; round++) {
    const socket = join(plan.directory, `${side}-start.sock`);
    const daemon = await StorageDaemonProcess.start(
      side,
      daemonArguments([nullDisk(0)], [socket]),
      `${socket}.pid`,
    );
    starts.push(daemon.startMs);
    const client = await ClientProcess.connect(socket);
    await client.run({
      client: 'event',
      operation: 'read',
      depths: [32],
      warmUpMs: 0,
      runtimeMs: plan.runtimeMs,
    });
    residentMib = Math.max(residentMib, daemon.residentMib());
    await client.close();
    await daemon.stop();
  }
  const few = await idleResidentMib(plan, side, MANY_IOTHREADS);
  const many = await idleResidentMib(plan, side, MANY_EXPORTS);
  return {
    start_ms: median(starts),
    resident_mib: residentMib,
    export_mib: (many - few) / (MANY_EXPORTS - MANY_IOTHREADS),
  };
}

async function idleResidentMib(plan: DaemonPlan, side: Side, exports: number): Promise<number> {
  const sockets = Array.from({ length: exports }, (_, index) =>
    join(plan.directory, `${side}-${index}.sock`),
  );
  const args = daemonArguments(
    sockets.map(() => nullDisk(0)),
    sockets,
    MANY_IOTHREADS,
  );
  const daemon = await StorageDaemonProcess.start(side, args, `${sockets[0]!}.pid`);
  try {
    return daemon.residentMib();
  } finally {
    await daemon.stop();
  }
}
