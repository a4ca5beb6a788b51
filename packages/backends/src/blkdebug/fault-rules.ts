import { BlockDriverError } from '../block-driver.js';
import { describeValue } from '../parse-options.js';
import { Counter, createFaultMemory, FaultMemory } from './fault-memory.js';
import { MAX_SEED } from './fault-limits.js';
import { checkRules, type FaultRule } from './fault-rule.js';

/** A rule, and how often it came to something. */
export interface FaultReport {
  readonly rule: FaultRule;
  /** Requests that it applied to, since it was set. */
  readonly seen: number;
  /** ... and those among them that had the fault: failed, delayed or hanging. */
  readonly fired: number;
}

/**
 * The rules by which `blkdebug` drives fail requests, for those who change them while the disk is in use. On the thread that made
 * them; iothreads work by the new ones from the moment that `set` returns.
 *
 * ```ts
 * const faults = new FaultRules();
 * const drive = { driver: 'blkdebug', image: { driver: 'memory', size: 1 << 20 }, rules: faults };
 * faults.set([{ iotype: 'write', sector: 8, errno: 'ENOSPC', once: true }]);
 * faults.query(); // [{ rule: …, seen: 1, fired: 1 }]
 * ```
 */
export class FaultRules {
  /** What iothreads share. */
  readonly buffer: SharedArrayBuffer = createFaultMemory();
  readonly #memory = new FaultMemory(this.buffer);
  readonly #seed: number;
  #rules: readonly FaultRule[] = [];

  /**
   * @param rules where to begin, at most 64
   * @param seed decides on chances: the nth request that a rule applies to has the same fate each time. 32 bits.
   * @throws BlockDriverError `ERR_DRIVE_OPTION`
   */
  constructor(rules: readonly FaultRule[] = [], seed: number = 0) {
    checkSeed(seed, 'seed');
    this.#seed = seed;
    this.set(rules);
  }

  /** What a drive's options say; `path` is what error messages call the drive. @internal */
  static parse(rules: unknown = [], seed: unknown, path: string): FaultRules {
    if (seed !== undefined) checkSeed(seed, `${path}.seed`);
    if (!(rules instanceof FaultRules)) {
      checkRules(rules, `${path}.rules`);
      return new FaultRules(rules as FaultRule[], seed);
    }
    if (seed === undefined) return rules;
    throw new BlockDriverError('ERR_DRIVE_OPTION', `${path}.seed: FaultRules have a seed of their own`);
  }

  /**
   * Replaces all rules, and counts from 0. Requests that hang are judged anew.
   * @throws BlockDriverError `ERR_DRIVE_OPTION`: the rules stay as they were
   */
  set(rules: readonly FaultRule[]): void {
    const checked = checkRules(rules, 'rules');
    this.#memory.write(JSON.stringify(checked), this.#seed);
    this.#rules = structuredClone(rules);
  }

  /** The rules in their order, with their counts. */
  query(): FaultReport[] {
    return this.#rules.map((rule, index) => ({
      rule,
      seen: this.#memory.count(index, Counter.SEEN),
      fired: this.#memory.count(index, Counter.FIRED),
    }));
  }
}

function checkSeed(seed: unknown, path: string): asserts seed is number {
  if (Number.isInteger(seed) && (seed as number) >= 0 && (seed as number) <= MAX_SEED) return;
  throw new BlockDriverError(
    'ERR_DRIVE_OPTION',
    `${path}: must be a whole number from 0 to ${MAX_SEED}, got ${describeValue(seed)}`,
  );
}
