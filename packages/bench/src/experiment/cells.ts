import { IOThreadRuntime } from '@iothreads/iothread';
import { addStartedDevice } from '../load/loaded-device.js';
import type { Vcpu } from '../load/vcpu.js';
import type { Disk, ExperimentCell, Mode } from '../results.js';
import type { Disks } from './disks.js';
import { CellRounds } from './measurement.js';
import type { Plan } from './plan.js';

const ID = 'vda';

/**
 * The experiment of 2019: jobs × AIO, SIO, auto on one device that has its iothread for itself. The modes of a cell are
 * measured in turn, round after round, so that their ratios hold when the machine's speed drifts.
 */
export async function measureCells(
  plan: Plan,
  disks: Disks,
  vcpu: Vcpu,
  tick: (what: string) => void,
): Promise<ExperimentCell[]> {
  await using runtime = new IOThreadRuntime();
  await runtime.addIOThread({ id: 'iothread0' });

  const measure = async (
    disk: Disk,
    mode: Mode,
    jobs: number,
    rounds: CellRounds,
    runtimeS: number,
  ): Promise<void> => {
    const vda = await addStartedDevice(runtime, {
      id: ID,
      iothread: 'iothread0',
      drive: disks.drive(disk),
      mode,
    });
    const [measured] = await vcpu.run({ devices: [vda.load(jobs)], runtimeMs: runtimeS * 1000 });
    await rounds.add(measured!, runtime, ID);
    await runtime.removeDevice(ID);
  };

  // Compiled code is what is compared, in every mode: the first requests of a process are not.
  for (const disk of plan.disks) {
    for (const mode of plan.modes) await measure(disk, mode, 4, new CellRounds(), WARM_UP_S);
  }
  const cells: ExperimentCell[] = [];
  for (const disk of plan.disks) {
    for (const jobs of plan.jobs) {
      const rounds = new Map(plan.modes.map((mode) => [mode, new CellRounds()]));
      for (let round = 0; round < plan.rounds; round++) {
        for (const [mode, sums] of rounds) {
          tick(`${disk}, ${jobs} ${jobs === 1 ? 'job' : 'jobs'}, ${mode}`);
          await measure(disk, mode, jobs, sums, plan.runtimeS / plan.rounds);
        }
      }
      for (const [mode, sums] of rounds) cells.push({ disk, mode, jobs, ...sums.measurement() });
    }
  }
  return cells;
}

const WARM_UP_S = 0.1;

/** How often `measureCells` ticks. */
export const cellTicks = (plan: Plan): number =>
  plan.disks.length * plan.jobs.length * plan.modes.length * plan.rounds;
