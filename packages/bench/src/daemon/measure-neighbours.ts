import { connect } from 'node:net';
import { join } from 'node:path';
import { ClientProcess, type ClientLoad } from './client.js';
import { medians, type NeighbourCell, type Side, SIDES, type StreamFigures } from './daemon-results.js';
import { daemonArguments, fileDisk, nullDisk } from './disks.js';
import { type DaemonPlan, measure, stopPair, type Tick } from './measure-cells.js';
import { StorageDaemonProcess } from './storage-daemon-process.js';

/** What the other device of the iothread is doing. */
interface Neighbour {
  readonly name: string;
  readonly blockdev: string;
  /** Its queue depth; 0 is idle. */
  readonly depth: number;
}

export const neighbours = (filename: string): readonly Neighbour[] => [
  { name: 'idle', blockdev: nullDisk(0), depth: 0 },
  { name: 'null-co 1 ms, depth 1', blockdev: nullDisk(1_000_000), depth: 1 },
  { name: 'null-co 300 us, depth 1', blockdev: nullDisk(300_000), depth: 1 },
  { name: 'null-co, depth 32', blockdev: nullDisk(0), depth: 32 },
  { name: 'null-co, depth 128', blockdev: nullDisk(0), depth: 128 },
  { name: 'cached file, depth 32', blockdev: fileDisk(filename, false), depth: 32 },
];

/** A device without latency at depth 1, event-driven, beside each neighbour on one iothread: both daemons in turn. */
export async function measureNeighbours(
  plan: DaemonPlan,
  list: readonly Neighbour[],
  tick: Tick,
): Promise<NeighbourCell[]> {
  const cells: NeighbourCell[] = [];
  for (const neighbour of list) {
    tick(`beside ${neighbour.name}`);
    const rounds: Record<Side, StreamFigures[]> = { qemu: [], ours: [] };
    let sync = 0;
    for (let round = 0; round < plan.rounds; round++) {
      for (const side of SIDES) {
        const { figures, syncRequests } = await measureOne(plan, neighbour, side);
        rounds[side].push(figures);
        sync += syncRequests;
      }
    }
    cells.push({ neighbour: neighbour.name, qemu: medians(rounds.qemu), ours: medians(rounds.ours), sync });
  }
  return cells;
}

async function measureOne(
  plan: DaemonPlan,
  neighbour: Neighbour,
  side: Side,
): Promise<{ figures: StreamFigures; syncRequests: number }> {
  const sockets = ['fast', 'other'].map((name) => join(plan.directory, `${side}-${name}.sock`));
  const qmp = join(plan.directory, `${side}-qmp.sock`);
  const args = daemonArguments([nullDisk(0), neighbour.blockdev.replaceAll('%SIDE%', side)], sockets);
  if (side === 'ours')
    args.unshift('--chardev', `socket,id=qmp,path=${qmp},server=on,wait=off`, '--monitor', 'qmp');
  const daemon = await StorageDaemonProcess.start(side, args, `${qmp}.pid`);
  const pair = { daemon, client: await ClientProcess.connect(sockets[0]!) };
  const other = await ClientProcess.connect(sockets[1]!);
  try {
    const load: ClientLoad = {
      client: 'event',
      operation: 'read',
      depth: 1,
      warmUpMs: plan.warmUpMs,
      runtimeMs: plan.runtimeMs,
    };
    const busy =
      neighbour.depth === 0
        ? undefined
        : // Longer than what is measured, on both ends.
          other.run({ ...load, depth: neighbour.depth, runtimeMs: plan.runtimeMs + 2 * plan.warmUpMs });
    const figures = await measure(pair, load);
    await busy;
    return { figures, syncRequests: side === 'ours' ? await syncRequests(qmp) : 0 };
  } finally {
    await other.close();
    await stopPair(pair);
  }
}

/** Synchronous requests of all exports, as our daemon's `query-blockstats` counts them. */
async function syncRequests(qmp: string): Promise<number> {
  const stats = await new Promise<string>((resolve, reject) => {
    const socket = connect(qmp);
    let text = '';
    socket.setEncoding('utf8').on('data', (chunk: string) => {
      text += chunk;
      const lines = text.split('\n').filter((line) => line.includes('"return"'));
      if (lines.length < 2) return;
      socket.destroy();
      resolve(lines[1]!);
    });
    socket.on('error', reject);
    socket.write('{"execute":"qmp_capabilities"}\n{"execute":"query-blockstats"}\n');
  });
  return [...stats.matchAll(/"sync": ?(\d+)/g)].reduce((sum, match) => sum + Number(match[1]), 0);
}
