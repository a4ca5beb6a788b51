import type { Random } from '../random.js';

/** A rule of blkdebug, by which a disk misbehaves. */
export function pickFault(random: Random): object {
  const rules: readonly object[] = [
    { 'delay-ns': 1_000_000 * (1 + random.below(20)) },
    { errno: 5, once: true },
    { errno: 28, iotype: 'write', count: 1 + random.below(20) },
    { errno: 5, probability: 0.1, count: 20 },
    { errno: 5, 'short-sectors': 1, count: 5 },
    { errno: 28, 'delay-ns': 1_000_000 * (1 + random.below(5)), count: 10 },
    { hang: true, once: true },
    { hang: true, iotype: 'write', count: 3, skip: random.below(20) },
  ];
  return random.pick(rules);
}
