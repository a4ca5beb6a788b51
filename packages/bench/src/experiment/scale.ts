import { IOThreadRuntime } from '@iothreads/iothread';
import { addStartedDevice } from '../load/loaded-device.js';
import type { Measured, Vcpu } from '../load/vcpu.js';
import type { ScaleCell } from '../results.js';
import { median } from './measurement.js';
import type { Plan } from './plan.js';

const IDLE_DEVICES = [0, 100] as const;
/** No latency and many in flight: whatever the idle ones cost shows. */
const DRIVE = { driver: 'null', latencyNs: 0 } as const;
const JOBS = 32;

export const SCALE_CELLS = IDLE_DEVICES.length;

/** Throughput of a busy device, alone on its iothread and beside idle ones that have been started. */
export async function measureScale(
  plan: Plan,
  vcpu: Vcpu,
  tick: (what: string) => void,
): Promise<ScaleCell[]> {
  const cells = await Promise.all(
    IDLE_DEVICES.map(async (idle) => ({ idle, runtime: await startIdle(idle), iops: [] as number[] })),
  );
  try {
    for (const { runtime } of cells) await measureBusy(runtime, WARM_UP_S, vcpu);
    for (let round = 0; round < plan.rounds; round++) {
      for (const cell of cells) {
        tick(`scale: beside ${cell.idle} idle devices`);
        const { requests, seconds } = await measureBusy(cell.runtime, plan.runtimeS / plan.rounds, vcpu);
        cell.iops.push(requests / seconds);
      }
    }
    return cells.map(({ idle, iops }) => ({ idle_devices: idle, iops: Math.round(median(iops)) }));
  } finally {
    for (const { runtime } of cells) await runtime.close();
  }
}

async function startIdle(count: number): Promise<IOThreadRuntime> {
  const runtime = new IOThreadRuntime();
  await runtime.addIOThread({ id: IOTHREAD });
  for (let i = 0; i < count; i++) {
    await addStartedDevice(runtime, { id: `idle${i}`, iothread: IOTHREAD, drive: DRIVE, mode: 'auto' });
  }
  return runtime;
}

async function measureBusy(runtime: IOThreadRuntime, runtimeS: number, vcpu: Vcpu): Promise<Measured> {
  const busy = await addStartedDevice(runtime, {
    id: 'busy',
    iothread: IOTHREAD,
    drive: DRIVE,
    mode: 'auto',
  });
  const [measured] = await vcpu.run({ devices: [busy.load(JOBS)], runtimeMs: runtimeS * 1000 });
  await runtime.removeDevice('busy');
  return measured!;
}

const IOTHREAD = 'iothread0';
const WARM_UP_S = 0.1;
