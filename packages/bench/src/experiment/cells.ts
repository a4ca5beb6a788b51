import { IOThreadRuntime } from '@iothreads/iothread';
import { addStartedDevice, type StartedDevice } from '../load/loaded-device.js';
import type { Vcpu } from '../load/vcpu.js';
import type { Disk, ExperimentCell, Mode } from '../results.js';
import type { Disks } from './disks.js';
import { CellRounds } from './measurement.js';
import type { Plan } from './plan.js';

/**
 * The experiment of 2019: jobs × AIO, SIO, auto on one device that has its iothread for itself. The modes of a cell are
 * measured in turn, round after round, so that their ratios hold when the machine's speed drifts. Each mode has an iothread
 * of its own, asleep while the others have their turns, and its device stays over all rounds.
 */
export async function measureCells(
  plan: Plan,
  disks: Disks,
  vcpu: Vcpu,
  tick: (what: string) => void,
): Promise<ExperimentCell[]> {
  await using runtime = new IOThreadRuntime();
  await runtime.configure({ iothreads: plan.modes.map((mode) => ({ id: mode })) });

  /** Measures the modes of one cell. */
  const measure = async (
    disk: Disk,
    jobs: number,
    roundS: number,
    rounds: number,
  ): Promise<ExperimentCell[]> => {
    const devices: { mode: Mode; vda: StartedDevice; sums: CellRounds }[] = [];
    for (const mode of plan.modes) {
      const options = { id: `vda-${mode}`, iothread: mode, drive: disks.drive(disk), mode };
      devices.push({ mode, vda: await addStartedDevice(runtime, options), sums: new CellRounds() });
    }
    for (let round = 0; round < rounds; round++) {
      for (const { mode, vda, sums } of devices) {
        tick(`${disk}, ${jobs} ${jobs === 1 ? 'job' : 'jobs'}, ${mode}`);
        if (round > 0) await vda.restart();
        const [measured] = await vcpu.run({ devices: [vda.load(jobs)], runtimeMs: roundS * 1000 });
        sums.add(measured!);
      }
    }
    const cells: ExperimentCell[] = [];
    for (const { mode, vda, sums } of devices) {
      await sums.count(runtime, vda.device.id);
      cells.push({ disk, mode, jobs, ...sums.measurement() });
      await runtime.removeDevice(vda.device.id);
    }
    return cells;
  };

  const cells: ExperimentCell[] = [];
  for (const disk of plan.disks) {
    // Compiled code is what is compared, in every mode: the first requests of a process are not.
    for (const jobs of WARM_UP_JOBS) await measure(disk, jobs, WARM_UP_S, 1);
    for (const jobs of plan.jobs) {
      cells.push(...(await measure(disk, jobs, plan.runtimeS / plan.rounds, plan.rounds)));
    }
  }
  return cells;
}

/** Alone and in company: the two ways through the dispatcher. */
const WARM_UP_JOBS = [1, 4];
/** A lone request of 30 µs takes its time to make code hot: measured, a quarter of a second. */
const WARM_UP_S = 0.25;

/** How often `measureCells` ticks. */
export const cellTicks = (plan: Plan): number =>
  plan.disks.length * plan.modes.length * (plan.jobs.length * plan.rounds + WARM_UP_JOBS.length);
