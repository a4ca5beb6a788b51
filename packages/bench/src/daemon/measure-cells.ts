import { join } from 'node:path';
import { ClientProcess } from './client.js';
import {
  type Client,
  type DaemonCell,
  medians,
  type Side,
  SIDES,
  type StreamFigures,
} from './daemon-results.js';
import { type BenchDisk, daemonArguments } from './disks.js';
import { StorageDaemonProcess } from './storage-daemon-process.js';

/** How much is measured. */
export interface DaemonPlan {
  readonly clients: readonly Client[];
  readonly depths: readonly number[];
  readonly operations: readonly ('read' | 'write')[];
  readonly rounds: number;
  readonly runtimeMs: number;
  readonly warmUpMs: number;
  /** Where sockets and the image are. */
  readonly directory: string;
}

/** A load before anything is measured: the first seconds of a process that compiles its code as it runs tell of nothing else. */
export const HEAT_MS = 1500;

export type Tick = (what: string) => void;

/** A daemon under load, and the client that makes it. */
export interface Pair {
  readonly daemon: StorageDaemonProcess;
  readonly client: ClientProcess;
}

export const countCells = (plan: DaemonPlan, disks: readonly BenchDisk[]): number =>
  disks.reduce(
    (sum, { operations }) =>
      sum +
      plan.operations.filter((each) => operations.includes(each)).length *
        plan.clients.length *
        plan.depths.length,
    0,
  );

/** Every disk, client, operation and depth: both daemons in turn, round after round. */
export async function measureCells(
  plan: DaemonPlan,
  disks: readonly BenchDisk[],
  tick: Tick,
): Promise<DaemonCell[]> {
  const cells: DaemonCell[] = [];
  for (const disk of disks) {
    const pairs = await startPairs(plan, disk);
    try {
      for (const client of plan.clients) {
        for (const operation of plan.operations.filter((each) => disk.operations.includes(each))) {
          for (const depth of plan.depths) {
            tick(`${disk.name}, ${client}, ${operation}, depth ${depth}`);
            const rounds: Record<Side, StreamFigures[]> = { qemu: [], ours: [] };
            for (let round = 0; round < plan.rounds; round++) {
              for (const side of SIDES) {
                rounds[side].push(
                  await measure(pairs[side], { ...plan, client, operation, depths: [depth] }),
                );
              }
            }
            cells.push({
              disk: disk.name,
              client,
              operation,
              depth,
              qemu: medians(rounds.qemu),
              ours: medians(rounds.ours),
            });
          }
        }
      }
    } finally {
      for (const side of SIDES) await stopPair(pairs[side]);
    }
  }
  return cells;
}

async function startPairs(plan: DaemonPlan, disk: BenchDisk): Promise<Record<Side, Pair>> {
  const start = async (side: Side): Promise<Pair> => {
    const socket = join(plan.directory, `${side}.sock`);
    const daemon = await StorageDaemonProcess.start(
      side,
      daemonArguments([disk.blockdev], [socket]),
      `${socket}.pid`,
    );
    const client = await ClientProcess.connect(socket);
    for (const kind of plan.clients) {
      await client.run({ client: kind, operation: 'read', depths: [8], warmUpMs: HEAT_MS, runtimeMs: 1 });
    }
    return { daemon, client };
  };
  return { qemu: await start('qemu'), ours: await start('ours') };
}

export async function stopPair({ client, daemon }: Pair): Promise<void> {
  await client.close();
  await daemon.stop();
}

/** @returns figures of the first disk; the processor's time is that of all requests */
export async function measure(
  { daemon, client }: Pair,
  load: Parameters<ClientProcess['run']>[0],
): Promise<StreamFigures> {
  const { client: kind, operation, depths, warmUpMs, runtimeMs } = load;
  const before = daemon.cpuNs();
  const figures = await client.run({ client: kind, operation, depths, warmUpMs, runtimeMs });
  const cpuNs = daemon.cpuNs() - before;
  const { requests, seconds, meanUs, p99Us, maxUs } = figures[0]!;
  const allRequests = figures.reduce((sum, each) => sum + each.requests, 0);
  // Warming up is in the processor's time as well, with its share of requests.
  const share = runtimeMs / (runtimeMs + warmUpMs);
  return {
    iops: requests / seconds,
    mean_us: meanUs,
    p99_us: p99Us,
    max_us: maxUs,
    cpu_us: (cpuNs * share) / allRequests / 1000,
  };
}
