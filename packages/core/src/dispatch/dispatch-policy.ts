import { FEW_SAMPLES, RunningCost } from './running-cost.js';

/** Requests the other way to keep its figure fresh: at most one in so many. */
export const TRIAL_INTERVAL = 64;
/** Synchronous requests in a trial where one is not dear: alone it would bear what they share, and seem dearer than it is. */
export const TRIAL_GROUP = 8;
/** ... and so seldom that they take less than this share of the time, ... */
const TRIAL_SHARE = 1 / 1024;
/** ... or than this for a batch that goes async in company, as the prior says: a figure that was wrong must not stand. */
const COMPANY_TRIAL_SHARE = 1 / 64;
/** Sync alone stands unless the measured costs contradict it by more than this: noise must not flip a tie. */
const MARGIN = 0.05;
/** ... and by more than this: it is what the readings of the clock are apart by themselves. */
const NOISE_NS = 500;
/** Async in company stands unless sync takes less than this share of its time: what keeps the loop must be well worth it. */
const WELL_WORTH = 0.75;
/** Kinds of request that are costed apart: indexes into the tables, in `BlockOperation`'s order. */
const KINDS = 5;
/** Asynchronous costs are kept by the power of two of the number outstanding: 1, 2–3, 4–7, … 64 and more. */
const LEVELS = 7;
/** In company async is the prior: it is measured until its code is warm before anything else is tried. */
const MANY_SAMPLES = 256;

/** Costs of one kind of request. */
class KindCosts {
  /** What one request keeps the loop: the same however many there are. */
  readonly sync = new RunningCost();
  /** From submission to completion: the more there are, the longer, when they wait for each other. */
  readonly #async: readonly RunningCost[] = Array.from(
    { length: LEVELS },
    (_, level) => new RunningCost(level === 0 ? FEW_SAMPLES : MANY_SAMPLES),
  );
  /** Requests since the last trial. */
  sinceTrial = 0;
  lastTrialNs = 0;

  /** The asynchronous cost with so many outstanding; NaN where it was not measured: fewer say little, and less if they are rare. */
  asyncNs(outstanding: number): number {
    return this.#async[levelOf(outstanding)]!.ns;
  }

  syncTook(ns: number, nowNs: number): void {
    if (!this.sync.add(ns, nowNs)) this.forget();
  }

  asyncTook(ns: number, nowNs: number, outstanding: number): void {
    if (!this.#async[levelOf(outstanding)]!.add(ns, nowNs)) this.forget();
  }

  forget(): void {
    this.sync.forget();
    for (const cost of this.#async) cost.forget();
    this.sinceTrial = 0;
  }
}

const levelOf = (outstanding: number): number => Math.min(31 - Math.clz32(outstanding), LEVELS - 1);

/**
 * Decides for each batch whether the iothread does it synchronously, inside its loop, or asynchronously.
 *
 * The prior is the rule of 2019: exactly one request outstanding → sync, more → async. Its general form takes over as
 * costs are measured. With n outstanding, a synchronous loop gives each request n × (what one keeps the loop), an
 * asynchronous one (submission to completion): sync while n × sync ≤ async. Never sync while the iothread is shared: that
 * is the caller's to say, and no measurement overrides it.
 */
export class DispatchPolicy {
  readonly #kinds: readonly KindCosts[] = Array.from({ length: KINDS }, () => new KindCosts());
  /**
   * How many requests the last decision was a trial for; 0 if it was none. A synchronous trial is a few requests, since their
   * cost is the same for each; an asynchronous one the whole batch, since a lone request would not meet with what the
   * others do to it.
   */
  trial = 0;

  /**
   * @param kind `BlockOperation` of the batch
   * @param outstanding requests popped or in flight on the device, the batch included; at least 1
   * @param syncAllowed the iothread is the device's own and the driver can complete without another thread
   * @param nowNs the iothread's clock
   * @param count requests in the batch
   * @returns true for sync
   */
  decide(kind: number, outstanding: number, syncAllowed: boolean, nowNs: number, count: number = 1): boolean {
    this.trial = 0;
    if (!syncAllowed) return false;
    const costs = this.#kinds[kind]!;
    const syncNs = costs.sync.ns;
    const asyncNs = costs.asyncNs(outstanding);
    const sync = preferSync(outstanding, syncNs, asyncNs);
    // One is tried where it may be dear; a few where even all of them would hardly be.
    const few = syncNs * TRIAL_GROUP <= asyncNs ? TRIAL_GROUP : 1;
    const trial = sync ? count : Math.min(count, few);
    costs.sinceTrial += count;
    if (costs.sinceTrial < TRIAL_INTERVAL * trial) return sync;
    // What a trial takes, as far as is known; a figure that is missing is learnt now.
    const price = sync ? asyncNs : syncNs * trial;
    const share = sync && outstanding > 1 ? COMPANY_TRIAL_SHARE : TRIAL_SHARE;
    if (price > (nowNs - costs.lastTrialNs) * share) return sync;
    costs.sinceTrial = 0;
    costs.lastTrialNs = nowNs;
    this.trial = trial;
    return !sync;
  }

  /** A synchronous request kept the loop for `ns`, until `nowNs`. */
  syncTook(kind: number, ns: number, nowNs: number): void {
    this.#kinds[kind]!.syncTook(ns, nowNs);
  }

  /** An asynchronous request took `ns` from submission, with so many outstanding, to completion at `nowNs`. */
  asyncTook(kind: number, ns: number, nowNs: number, outstanding: number): void {
    this.#kinds[kind]!.asyncTook(ns, nowNs, outstanding);
  }

  /** A request failed: what a failing disk costs says nothing of a working one. Back to the prior. */
  failed(kind: number): void {
    this.#kinds[kind]!.forget();
  }
}

function preferSync(outstanding: number, syncNs: number, asyncNs: number): boolean {
  const prior = outstanding === 1;
  if (Number.isNaN(syncNs) || Number.isNaN(asyncNs)) return prior;
  const loopNs = outstanding * syncNs;
  return prior ? loopNs <= asyncNs * (1 + MARGIN) + NOISE_NS : loopNs <= asyncNs * WELL_WORTH - NOISE_NS;
}
