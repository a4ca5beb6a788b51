import { cpus, release } from 'node:os';
import { Vcpu } from '../load/vcpu.js';
import type { ExperimentResult, Machine } from '../results.js';
import { BREAKDOWN_TICKS, measureBreakdown } from './breakdown.js';
import { cellTicks, measureCells } from './cells.js';
import { Disks } from './disks.js';
import type { Plan, Progress } from './plan.js';
import { measureScale, SCALE_CELLS } from './scale.js';
import { measureSharing, SHARING_CELLS } from './sharing.js';

/** Cells that are measured for `runtimeS` each. */
export const countCells = ({ disks, modes, jobs }: Pick<Plan, 'disks' | 'modes' | 'jobs'>): number =>
  disks.length * modes.length * jobs.length + SHARING_CELLS + SCALE_CELLS;

/** Measures everything that the plan asks for, one thing at a time. */
export async function runExperiment(plan: Plan, progress: Progress): Promise<ExperimentResult> {
  const total = cellTicks(plan) + (SHARING_CELLS + SCALE_CELLS) * plan.rounds + BREAKDOWN_TICKS;
  let done = 0;
  const tick = (what: string): void => {
    progress(done++, total, what);
  };
  const date = new Date();
  const vcpu = new Vcpu();
  try {
    await using disks = await Disks.create(plan.directory);
    const experiment = await measureCells(plan, disks, vcpu, tick);
    const sharing = await measureSharing(plan, vcpu, tick);
    const scale = await measureScale(plan, vcpu, tick);
    const breakdown = await measureBreakdown(vcpu, disks, tick);
    const machine = describeMachine(date, vcpu.lostPct);
    return { experiment, sharing, scale, breakdown, machine };
  } finally {
    await vcpu.close();
  }
}

function describeMachine(date: Date, lostPct: number): Machine {
  const processors = cpus();
  return {
    cpu: processors[0]?.model ?? 'unknown',
    cores: processors.length,
    node: process.version,
    v8: process.versions.v8,
    kernel: release(),
    platform: `${process.platform} ${process.arch}`,
    date: date.toISOString(),
    lost_pct: lostPct,
    runtime_s: Math.round((Date.now() - date.getTime()) / 100) / 10,
  };
}
