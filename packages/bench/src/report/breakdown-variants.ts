import type { BreakdownStep, BreakdownVariantName } from '../results.js';

/** The steps of one way to measure them. */
export interface BreakdownVariant {
  /** How the doorbell found the iothread; undefined where the steps don't tell. */
  readonly variant: BreakdownStep['variant'];
  readonly steps: readonly BreakdownStep[];
  readonly totalNs: number;
}

/** The steps by variant, each in the order in which they came. */
export function breakdownVariants(breakdown: readonly BreakdownStep[]): BreakdownVariant[] {
  const variants = [...new Set(breakdown.map(({ variant }) => variant))];
  return variants.map((variant) => {
    const steps = breakdown.filter((step) => step.variant === variant);
    return { variant, steps, totalNs: steps.reduce((sum, { mean_ns }) => sum + mean_ns, 0) };
  });
}

/** What a variant is called. */
export function variantTitle(variant: BreakdownStep['variant']): string {
  return variant === undefined ? 'An asynchronous request' : TITLES[variant];
}

const TITLES: Readonly<Record<BreakdownVariantName, string>> = {
  asleep: 'Asleep, doorbells in shared memory',
  'asleep-eventfd': 'Asleep, doorbells are eventfds',
  polling: 'Polling',
  'file-threads': 'Polling, cached file by threads',
  'file-io_uring': 'Polling, cached file by io_uring',
};
