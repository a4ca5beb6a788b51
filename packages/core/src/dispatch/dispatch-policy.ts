import { RunningCost } from './running-cost.js';

/** Requests the other way to keep its figure fresh: at most one in so many. */
export const TRIAL_INTERVAL = 64;
/** ... and so seldom that they take less than this share of the time. */
const TRIAL_SHARE = 1 / 256;
/** The prior stands unless the measured costs contradict it by more than this: noise must not flip a tie. */
const MARGIN = 0.05;
/** Kinds of request that are costed apart: indexes into the tables, in `BlockOperation`'s order. */
const KINDS = 5;

/** Costs of one kind of request. */
interface KindCosts {
  readonly sync: RunningCost;
  readonly async: RunningCost;
  /** Requests since the last one that went the other way. */
  sinceTrial: number;
  lastTrialNs: number;
}

/**
 * Decides for each batch whether the iothread does it synchronously, inside its loop, or asynchronously.
 *
 * The prior is the rule of 2019: exactly one request outstanding → sync, more → async. Its general form takes over as
 * costs are measured. With n outstanding, a synchronous loop gives each request n × (what one keeps the loop), an
 * asynchronous one (submission to completion): sync while n × sync ≤ async. Never sync while the iothread is shared: that
 * is the caller's to say, and no measurement overrides it.
 */
export class DispatchPolicy {
  readonly #kinds: readonly KindCosts[] = Array.from({ length: KINDS }, () => ({
    sync: new RunningCost(),
    async: new RunningCost(),
    sinceTrial: 0,
    lastTrialNs: 0,
  }));
  /** Whether the last decision was a trial: the caller does one request that way, not a batch. */
  trial = false;

  /**
   * @param kind `BlockOperation` of the batch's first request
   * @param outstanding requests popped or in flight on the device, the batch included; at least 1
   * @param syncAllowed the iothread is the device's own and the driver can complete without another thread
   * @param nowNs the iothread's clock
   * @returns true for sync
   */
  decide(kind: number, outstanding: number, syncAllowed: boolean, nowNs: number): boolean {
    this.trial = false;
    if (!syncAllowed) return false;
    const costs = this.#kinds[kind]!;
    const syncNs = costs.sync.ns;
    const asyncNs = costs.async.ns;
    const sync = preferSync(outstanding, syncNs, asyncNs);
    if (++costs.sinceTrial < TRIAL_INTERVAL) return sync;
    // What a trial costs at most, as far as is known; the figure may be missing, then it is learnt once, now.
    const price = sync ? asyncNs : syncNs;
    if (price > (nowNs - costs.lastTrialNs) * TRIAL_SHARE) return sync;
    costs.sinceTrial = 0;
    costs.lastTrialNs = nowNs;
    this.trial = true;
    return !sync;
  }

  /** A synchronous request kept the loop for `ns`. */
  syncTook(kind: number, ns: number): void {
    const costs = this.#kinds[kind]!;
    if (!costs.sync.add(ns)) costs.async.forget();
  }

  /** An asynchronous request took `ns` from submission to completion. */
  asyncTook(kind: number, ns: number): void {
    const costs = this.#kinds[kind]!;
    if (!costs.async.add(ns)) costs.sync.forget();
  }

  /** A request failed: what a failing disk costs says nothing of a working one. Back to the prior. */
  failed(kind: number): void {
    const costs = this.#kinds[kind]!;
    costs.sync.forget();
    costs.async.forget();
    costs.sinceTrial = 0;
  }
}

function preferSync(outstanding: number, syncNs: number, asyncNs: number): boolean {
  const prior = outstanding === 1;
  if (Number.isNaN(syncNs) || Number.isNaN(asyncNs)) return prior;
  const loopNs = outstanding * syncNs;
  return prior ? loopNs <= asyncNs * (1 + MARGIN) : loopNs <= asyncNs * (1 - MARGIN);
}
