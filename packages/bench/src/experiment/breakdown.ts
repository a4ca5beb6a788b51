import { IOThreadRuntime } from '@iothreads/iothread';
import { traceRequests } from '@iothreads/iothread/testing';
import { addStartedDevice } from '../load/loaded-device.js';
import { TRACE_STEPS } from '../load/load.js';
import type { Vcpu } from '../load/vcpu.js';
import type { BreakdownStep } from '../results.js';

const VARIANTS = [
  { variant: 'asleep', requests: 500 },
  { variant: 'polling', requests: 20_000 },
] as const;

export const BREAKDOWN_TICKS = VARIANTS.length;

/**
 * Where the time of an asynchronous request goes when the disk itself takes none: with both sides asleep between requests,
 * and with both polling.
 */
export async function measureBreakdown(vcpu: Vcpu, tick: (what: string) => void): Promise<BreakdownStep[]> {
  await using runtime = new IOThreadRuntime();
  await runtime.addIOThread({ id: 'iothread0' });
  const steps: BreakdownStep[] = [];
  for (const { variant, requests } of VARIANTS) {
    tick(`breakdown of a request, ${variant}`);
    const vda = await addStartedDevice(runtime, {
      id: 'vda',
      iothread: 'iothread0',
      drive: { driver: 'null', latencyNs: 0 },
      mode: 'aio',
    });
    const moments = await traceRequests(runtime, 'vda');
    const result = await vcpu.trace({ device: vda.load(1), requests, asleep: variant === 'asleep', moments });
    for (const step of TRACE_STEPS) {
      steps.push({ step, mean_ns: Math.round(result.steps[step] / result.requests), variant });
    }
    await runtime.removeDevice('vda');
  }
  return steps;
}
