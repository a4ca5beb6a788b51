import { connect } from 'node:net';
import { join } from 'node:path';
import { ClientProcess } from './client.js';
import { medians, type NeighbourCell, type Side, SIDES, type StreamFigures } from './daemon-results.js';
import { daemonArguments, fileDisk, nullDisk } from './disks.js';
import { type DaemonPlan, HEAT_MS, measure, type Pair, stopPair, type Tick } from './measure-cells.js';
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
    const pairs = { qemu: await start(plan, neighbour, 'qemu'), ours: await start(plan, neighbour, 'ours') };
    const load = { client: 'event', operation: 'read', depths: [1, neighbour.depth] } as const;
    try {
      for (const side of SIDES) await pairs[side].client.run({ ...load, warmUpMs: HEAT_MS, runtimeMs: 1 });
      for (let round = 0; round < plan.rounds; round++) {
        for (const side of SIDES) rounds[side].push(await measure(pairs[side], { ...plan, ...load }));
      }
      const sync = await syncRequests(qmpPath(plan));
      cells.push({ neighbour: neighbour.name, qemu: medians(rounds.qemu), ours: medians(rounds.ours), sync });
    } finally {
      for (const side of SIDES) await stopPair(pairs[side]);
    }
  }
  return cells;
}

const qmpPath = (plan: DaemonPlan): string => join(plan.directory, 'qmp.sock');

async function start(plan: DaemonPlan, neighbour: Neighbour, side: Side): Promise<Pair> {
  const sockets = ['fast', 'other'].map((name) => join(plan.directory, `${side}-${name}.sock`));
  const args = daemonArguments([nullDisk(0), neighbour.blockdev], sockets);
  if (side === 'ours') {
    args.unshift('--chardev', `socket,id=qmp,path=${qmpPath(plan)},server=on,wait=off`, '--monitor', 'qmp');
  }
  const daemon = await StorageDaemonProcess.start(side, args, `${sockets[0]!}.pid`);
  return { daemon, client: await ClientProcess.connect(...sockets) };
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
