import { IOThreadRuntime } from '@iothreads/iothread';
import { addStartedDevice } from '../load/loaded-device.js';
import type { Vcpu } from '../load/vcpu.js';
import type { SharingCell } from '../results.js';
import { CellRounds } from './measurement.js';
import type { Plan } from './plan.js';

type Neighbour = SharingCell['neighbour'];

/** The device whose latency is measured: the disk of 2019, one job. */
const FAST = { driver: 'null', latencyNs: 30_000 } as const;
/** Neighbours: a slow disk kept busy, and one that answers at once and is given all it can take. */
const SLOW = { driver: 'null', latencyNs: 1_000_000 } as const;
const FLOOD = { driver: 'null', latencyNs: 0 } as const;
const NEIGHBOUR_JOBS: Readonly<Record<Neighbour, number>> = { idle: 0, slow: 4, flood: 32 };

const CONFIGURATIONS = [
  { placement: 'shared', mode: 'sio' },
  { placement: 'shared', mode: 'auto' },
  { placement: 'own', mode: 'auto' },
] as const;
const NEIGHBOURS = ['idle', 'slow', 'flood'] as const;

export const SHARING_CELLS = CONFIGURATIONS.length * NEIGHBOURS.length;

/** A fast device's latency beside a neighbour: on the same iothread with sync forced and with auto, and on its own. */
export async function measureSharing(
  plan: Plan,
  vcpu: Vcpu,
  tick: (what: string) => void,
): Promise<SharingCell[]> {
  await using runtime = new IOThreadRuntime();
  await runtime.configure({ iothreads: [{ id: 'iothread0' }, { id: 'iothread1' }] });
  const cells: SharingCell[] = [];
  for (const configuration of CONFIGURATIONS) {
    const rounds = NEIGHBOURS.map((neighbour) => ({ neighbour, sums: new CellRounds() }));
    for (const { neighbour } of rounds) {
      await measureBeside(runtime, configuration, neighbour, WARM_UP_S, vcpu, new CellRounds());
    }
    for (let round = 0; round < plan.rounds; round++) {
      for (const { neighbour, sums } of rounds) {
        tick(`sharing: ${configuration.placement}, ${configuration.mode}, ${neighbour} neighbour`);
        await measureBeside(runtime, configuration, neighbour, plan.runtimeS / plan.rounds, vcpu, sums);
      }
    }
    for (const { neighbour, sums } of rounds)
      cells.push({ ...configuration, neighbour, ...sums.measurement() });
  }
  return cells;
}

async function measureBeside(
  runtime: IOThreadRuntime,
  { placement, mode }: (typeof CONFIGURATIONS)[number],
  neighbour: Neighbour,
  runtimeS: number,
  vcpu: Vcpu,
  sums: CellRounds,
): Promise<void> {
  const fast = await addStartedDevice(runtime, { id: 'fast', iothread: 'iothread0', drive: FAST, mode });
  const other = await addStartedDevice(runtime, {
    id: 'neighbour',
    iothread: placement === 'shared' ? 'iothread0' : 'iothread1',
    drive: neighbour === 'slow' ? SLOW : FLOOD,
    mode,
  });
  const devices = [fast.load(1)];
  if (neighbour !== 'idle') devices.push(other.load(NEIGHBOUR_JOBS[neighbour]));
  const [measured] = await vcpu.run({ devices, runtimeMs: runtimeS * 1000 });
  sums.add(measured!);
  await sums.count(runtime, 'fast');
  await runtime.removeDevice('fast');
  await runtime.removeDevice('neighbour');
}

const WARM_UP_S = 0.1;
