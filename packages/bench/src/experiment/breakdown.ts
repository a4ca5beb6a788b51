import { type DeviceOptions, IOThreadRuntime } from '@iothreads/iothread';
import { traceRequests } from '@iothreads/iothread/testing';
import { addStartedDevice, addStartedExport } from '../load/loaded-device.js';
import { TRACE_STEPS, type TraceResult } from '../load/load.js';
import type { Vcpu } from '../load/vcpu.js';
import type { BreakdownStep, BreakdownVariantName } from '../results.js';
import type { Disks } from './disks.js';

interface Variant {
  readonly variant: BreakdownVariantName;
  readonly requests: number;
  readonly asleep: boolean;
  /** Doorbell and interrupt are eventfds. */
  readonly eventfds: boolean;
  readonly drive: (disks: Disks) => DeviceOptions['drive'];
}

const NULL = (): DeviceOptions['drive'] => ({ driver: 'null', latencyNs: 0 });
const ASLEEP = { requests: 500, asleep: true, drive: NULL };
const POLLING = { asleep: false, eventfds: false };

/** What is looked at here; eventfds and io_uring on Linux only. */
const VARIANTS: readonly Variant[] = [
  { variant: 'asleep', ...ASLEEP, eventfds: false },
  ...(process.platform === 'linux'
    ? [{ variant: 'asleep-eventfd' as const, ...ASLEEP, eventfds: true }]
    : []),
  { variant: 'polling', ...POLLING, requests: 20_000, drive: NULL },
  { variant: 'file-threads', ...POLLING, requests: 2_000, drive: (disks) => disks.file('threads') },
  ...(process.platform === 'linux'
    ? [
        {
          variant: 'file-io_uring' as const,
          ...POLLING,
          requests: 20_000,
          drive: (disks: Disks) => disks.file('io_uring'),
        },
      ]
    : []),
];

export const BREAKDOWN_TICKS = VARIANTS.length;

/**
 * Where the time of an asynchronous request goes: asleep and polling with a disk that takes no time itself, and with a
 * cached file, by the portable means and by Linux's.
 */
export async function measureBreakdown(
  vcpu: Vcpu,
  disks: Disks,
  tick: (what: string) => void,
): Promise<BreakdownStep[]> {
  await using runtime = new IOThreadRuntime();
  await runtime.addIOThread({ id: 'iothread0' });
  const steps: BreakdownStep[] = [];
  for (const variant of VARIANTS) {
    tick(`breakdown of a request, ${variant.variant}`);
    const result = await traceVariant(runtime, vcpu, variant, variant.drive(disks));
    for (const step of TRACE_STEPS) {
      const mean_ns = Math.round(result.steps[step] / result.requests);
      steps.push({ step, mean_ns, variant: variant.variant });
    }
  }
  return steps;
}

async function traceVariant(
  runtime: IOThreadRuntime,
  vcpu: Vcpu,
  { requests, asleep, eventfds }: Variant,
  drive: DeviceOptions['drive'],
): Promise<TraceResult> {
  const options = { id: 'vda', iothread: 'iothread0', drive };
  if (eventfds) {
    await using vda = await addStartedExport(runtime, options);
    const moments = await traceRequests(runtime, 'vda');
    return await vcpu.trace({ device: vda.load, requests, asleep, moments, eventfds: vda.eventfds });
  }
  const vda = await addStartedDevice(runtime, { ...options, mode: 'aio' });
  const moments = await traceRequests(runtime, 'vda');
  const result = await vcpu.trace({ device: vda.load(1), requests, asleep, moments });
  await runtime.removeDevice('vda');
  return result;
}
