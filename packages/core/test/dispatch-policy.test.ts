import { BlockOperation, DispatchPolicy, RunningCost, TRIAL_INTERVAL } from '@iothreads/core';
import { describe, expect, test } from 'vitest';
import { random } from './support/seed.js';

const READ = BlockOperation.READ;
const WRITE = BlockOperation.WRITE;

/** A policy that has seen requests of these costs, in microseconds, and no decision yet. */
function learnt(syncUs: number, asyncUs: number, kind: BlockOperation = READ): DispatchPolicy {
  const policy = new DispatchPolicy();
  for (let i = 0; i < 10; i++) policy.syncTook(kind, syncUs * 1000, i);
  for (const outstanding of LEVELS) learnAsync(policy, asyncUs, outstanding, kind);
  return policy;
}

/** One number outstanding for each figure that the policy keeps. */
const LEVELS = [1, 2, 4, 8, 16, 32, 64];

/** Samples enough for a figure, in microseconds. */
function learnAsync(
  policy: DispatchPolicy,
  asyncUs: number,
  outstanding: number,
  kind: BlockOperation = READ,
): void {
  for (let i = 0; i < 300; i++) policy.asyncTook(kind, asyncUs * 1000, i, outstanding);
}

/** What it decides for each number outstanding from 1 to `most`. */
const decisions = (policy: DispatchPolicy, most: number, kind: BlockOperation = READ): boolean[] =>
  Array.from({ length: most }, (_, i) => policy.decide(kind, i + 1, true, 0));

const PRIOR = [true, false, false, false];

describe('the prior: one outstanding goes sync, more go async', () => {
  test('before anything is measured', () => {
    expect(decisions(new DispatchPolicy(), 4)).toEqual(PRIOR);
  });

  test('while only one of the two costs is known', () => {
    const policy = new DispatchPolicy();
    policy.syncTook(READ, 1, 0);
    expect(decisions(policy, 4)).toEqual(PRIOR);
    policy.syncTook(WRITE, 1e9, 0);
    expect(decisions(policy, 4, WRITE)).toEqual(PRIOR);
    policy.asyncTook(BlockOperation.FLUSH, 1e9, 0, 1);
    expect(decisions(policy, 4, BlockOperation.FLUSH)).toEqual(PRIOR);
  });

  test('costs of one kind of request say nothing of another', () => {
    const policy = learnt(1, 1000);
    expect(decisions(policy, 4)).toEqual([true, true, true, true]);
    expect(decisions(policy, 4, WRITE)).toEqual(PRIOR);
  });
});

describe('learnt costs: sync while n times the sync cost stays below the async one', () => {
  test('a disk of 30 µs behaves as the prior: 55 µs sync, 70 async alone, 83 in company', () => {
    expect(learnt(55, 70).decide(READ, 1, true, 0)).toBe(true);
    expect(learnt(55, 83).decide(READ, 2, true, 0)).toBe(false);
    expect(decisions(learnt(55, 70), 4)).toEqual(PRIOR);
  });

  test('a file in the page cache, 0.8 µs sync and 22 async, goes sync for many outstanding', () => {
    expect(decisions(learnt(0.8, 22), 16)).toEqual(Array.from({ length: 16 }, () => true));
    expect(learnt(0.8, 22).decide(READ, 28, true, 0)).toBe(false);
  });

  test('two outstanding go async at 67 µs sync and 83 async', () => {
    expect(decisions(learnt(67, 83), 2)).toEqual([true, false]);
  });

  test('even a lone request goes async where blocking costs more than waiting', () => {
    expect(decisions(learnt(90, 60), 3)).toEqual([false, false, false]);
    expect(decisions(learnt(83, 67), 1)).toEqual([false]);
  });

  test('a tie is left to the prior', () => {
    expect(decisions(learnt(70, 70), 1)).toEqual([true]);
    expect(decisions(learnt(72, 70), 1)).toEqual([true]);
    expect(decisions(learnt(35, 70), 2)).toEqual([true, false]);
  });
});

describe('asynchronous costs grow with the number outstanding', () => {
  test('a lone request’s says nothing against sync in company that queues up for a few threads', () => {
    const policy = learnt(2.3, 30);
    expect(policy.decide(READ, 16, true, 0)).toBe(false);
    for (let i = 0; i < 10; i++) policy.asyncTook(READ, 100_000, i * 1e6, 16);
    for (let i = 0; i < 30; i++) policy.asyncTook(READ, 300_000, i * 1e6, 16);
    expect(policy.decide(READ, 16, true, 0)).toBe(true);
    // With fewer it is still what it was.
    expect(policy.decide(READ, 12, true, 0)).toBe(false);
    expect(policy.decide(READ, 7, true, 0)).toBe(true);
    expect(learnt(40, 30).decide(READ, 1, true, 0)).toBe(false);
  });

  test('company’s says nothing of a lone request, which is left to the prior', () => {
    const policy = new DispatchPolicy();
    for (let i = 0; i < 10; i++) {
      policy.syncTook(READ, 90_000, 0);
      policy.asyncTook(READ, 60_000, 0, 4);
    }
    expect(decisions(policy, 4)).toEqual([true, false, false, false]);
  });

  test('an asynchronous trial is paid for by the requests of its whole batch', () => {
    const policy = learnt(1, 500);
    let requests = 0;
    let trials = 0;
    for (let i = 0; i < 2000; i++) {
      policy.decide(READ, 16, true, i * 1e9, 16);
      requests += 16;
      if (policy.trial > 0) trials += 16;
    }
    expect(trials).toBeGreaterThan(0);
    expect(trials).toBeLessThanOrEqual(requests / TRIAL_INTERVAL);
  });
});

describe('a shared iothread', () => {
  test('never goes sync, whatever was learnt, and tries nothing', () => {
    const policy = learnt(1, 1_000_000);
    expect(policy.decide(READ, 1, true, 0)).toBe(true);
    for (let i = 1; i <= 10 * TRIAL_INTERVAL; i++) {
      expect(policy.decide(READ, 1 + (i % 3), false, i * 1e9)).toBe(false);
      expect(policy.trial).toBe(0);
    }
    // Its own again: what was learnt still holds.
    expect(policy.decide(READ, 4, true, 1e12)).toBe(true);
  });

  test('is no trial even when the last decision was one', () => {
    const policy = learnt(1, 50);
    let now = 0;
    while (policy.trial === 0) policy.decide(READ, 1, true, (now += 1e9));
    expect(policy.decide(READ, 1, false, now)).toBe(false);
    expect(policy.trial).toBe(0);
  });
});

describe('trials', () => {
  /** Runs requests one after the other on a disk of these costs. */
  function run(policy: DispatchPolicy, syncUs: number, asyncUs: number, requests: number, outstanding = 1) {
    let now = 1e9;
    const from = now;
    let trials = 0;
    let trialNs = 0;
    let apart = Infinity;
    let since = Infinity;
    for (let i = 0; i < requests; i++) {
      const sync = policy.decide(READ, outstanding, true, now);
      const ns = (sync ? syncUs : asyncUs) * 1000;
      since++;
      if (policy.trial > 0) {
        trials++;
        trialNs += ns;
        apart = Math.min(apart, since);
        since = 0;
      }
      now += ns;
      if (sync) policy.syncTook(READ, ns, now);
      else policy.asyncTook(READ, ns, now, outstanding);
    }
    return { trials, apart, share: trialNs / (now - from) };
  }

  test.each([
    [55, 70, 1],
    [0.8, 22, 1],
    [22, 0.8, 1],
    [55, 83, 2],
    // Cheap enough that their number is what bounds them, not their time.
    [8, 35, 5],
  ])('%f µs sync, %f async, %i outstanding: some, at most one request in 64', (sync, async, outstanding) => {
    const { trials, apart } = run(learnt(sync, async), sync, async, 20_000, outstanding);
    expect(trials).toBeGreaterThan(0);
    expect(trials).toBeLessThanOrEqual(20_000 / TRIAL_INTERVAL);
    expect(apart).toBeGreaterThanOrEqual(TRIAL_INTERVAL);
  });

  test.each([
    [10_000, 50],
    [50, 10_000],
    [5, 5000],
  ])('%f µs sync, %f async: they take a small share of the time', (sync, async) => {
    const { trials, share } = run(learnt(sync, async), sync, async, 1_000_000);
    expect(trials).toBeGreaterThan(0);
    expect(share).toBeLessThan(1 / 128);
  });

  test('the unknown cost is learnt by a few', () => {
    const policy = new DispatchPolicy();
    expect(run(policy, 90, 60, 4 * TRIAL_INTERVAL).trials).toBe(4);
    expect(policy.decide(READ, 1, true, 2e9)).toBe(false);
    expect(policy.trial).toBe(0);
  });
});

describe('what upsets the figures', () => {
  test('an outlier counts as a quarter more than the mean', () => {
    const cost = new RunningCost();
    for (let i = 0; i < 10; i++) cost.add(10_000, i);
    expect(cost.add(1e9, 0)).toBe(true);
    expect(cost.ns).toBe(10_312.5);
    for (let i = 0; i < 30; i++) cost.add(10_000, 0);
    expect(cost.ns).toBeCloseTo(10_000, -3);
  });

  test('first samples that found cold code are soon forgotten', () => {
    const policy = new DispatchPolicy();
    learnAsync(policy, 20, 4);
    policy.syncTook(READ, 1_000_000, 0);
    for (let i = 1; i < 10; i++) policy.syncTook(READ, 1000, i);
    expect(policy.decide(READ, 4, true, 0)).toBe(true);
  });

  test('a cold batch of many requests is one moment, and makes no figure', () => {
    const policy = learnt(50, 100);
    const cost = new RunningCost(32);
    for (let i = 0; i < 100; i++) cost.add(1_000_000, 0);
    expect(cost.ns).toBeNaN();
    for (let i = 1; i < 32; i++) cost.add(100_000, i);
    expect(cost.ns).toBeCloseTo(100_000, -3);
    expect(policy.decide(READ, 4, true, 0)).toBe(false);
  });

  test('a stall that hits everything in flight is one outlier, no jump, and teaches nothing', () => {
    const policy = learnt(30, 33);
    for (let i = 0; i < 20; i++) policy.asyncTook(READ, 45_000, 0, 16);
    expect(policy.decide(READ, 16, true, 0)).toBe(false);
    for (let i = 0; i < 16; i++) policy.asyncTook(READ, 3_000_000, 1e9 + i * 1000, 16);
    expect(policy.decide(READ, 16, true, 1e9)).toBe(false);
    expect(policy.decide(READ, 1, true, 1e9)).toBe(true);
  });

  test('outliers among good samples never make a jump', () => {
    const policy = learnt(0.8, 22);
    for (let i = 0; i < 100; i++) {
      policy.syncTook(READ, i % 8 === 0 ? 5_000_000 : 800, i * 1e7);
      expect(policy.decide(READ, 4, true, 0)).toBe(true);
    }
  });

  test('the mean follows a change that is no outlier', () => {
    const cost = new RunningCost();
    for (let i = 0; i < 4; i++) cost.add(10_000, i);
    for (let i = 0; i < 40; i++) expect(cost.add(30_000, 0)).toBe(true);
    expect(cost.ns).toBeCloseTo(30_000, -3);
    for (let i = 0; i < 60; i++) expect(cost.add(1000, 0)).toBe(true);
    expect(cost.ns).toBeCloseTo(1000, -2);
  });

  test('a sync cost that jumps falls back to the prior', () => {
    const policy = learnt(1, 22);
    expect(decisions(policy, 4)).toEqual([true, true, true, true]);
    for (let i = 0; i < 10; i++) policy.syncTook(READ, 5_000_000, i * 1e7);
    expect(decisions(policy, 4)).toEqual(PRIOR);
  });

  test('an async cost that jumps falls back to the prior', () => {
    const policy = learnt(90, 60);
    expect(decisions(policy, 4)).toEqual([false, false, false, false]);
    for (let i = 0; i < 10; i++) policy.asyncTook(READ, 50_000_000, i * 1e8, 1);
    expect(decisions(policy, 4)).toEqual(PRIOR);
  });

  test('a failure falls back to the prior, for its kind alone', () => {
    const policy = learnt(1, 100);
    for (let i = 0; i < 10; i++) {
      policy.syncTook(WRITE, 90_000, i);
      policy.asyncTook(WRITE, 60_000, i, 1);
    }
    policy.failed(READ);
    expect(decisions(policy, 4)).toEqual(PRIOR);
    expect(decisions(policy, 1, WRITE)).toEqual([false]);
    policy.failed(WRITE);
    expect(decisions(policy, 4, WRITE)).toEqual(PRIOR);
  });
});

describe('convergence on noisy disks', () => {
  interface Disk {
    readonly syncUs: number;
    readonly asyncUs: number;
  }

  /** Runs so many batches at `outstanding`. @returns the share of the last quarter that went sync */
  function shareOfSync(
    policy: DispatchPolicy,
    disk: Disk,
    outstanding: number,
    noise: () => number,
    startNs: number,
    batches: number = 8000,
  ): number {
    let now = startNs;
    let syncs = 0;
    for (let i = 0; i < batches; i++) {
      const sync = policy.decide(READ, outstanding, true, now);
      // ± 30 %, and one in a hundred twenty times as long.
      const factor = (0.7 + 0.6 * noise()) * (noise() < 0.01 ? 20 : 1);
      const ns = (sync ? disk.syncUs : disk.asyncUs) * factor * 1000;
      now += sync ? ns * outstanding : ns;
      if (sync) policy.syncTook(READ, ns, now);
      else policy.asyncTook(READ, ns, now, outstanding);
      if (i >= (batches * 3) / 4 && sync) syncs++;
    }
    return syncs / (batches / 4);
  }

  const disks: readonly [what: string, disk: Disk, outstanding: number, sync: boolean][] = [
    ['page cache, alone', { syncUs: 0.8, asyncUs: 22 }, 1, true],
    ['page cache, 8 outstanding', { syncUs: 0.8, asyncUs: 22 }, 8, true],
    ['page cache, 64 outstanding', { syncUs: 0.8, asyncUs: 22 }, 64, false],
    ['a 30 µs disk, alone', { syncUs: 45, asyncUs: 90 }, 1, true],
    ['a 30 µs disk, 2 outstanding', { syncUs: 55, asyncUs: 83 }, 2, false],
    ['blocking is dear, alone', { syncUs: 120, asyncUs: 60 }, 1, false],
    ['a slow disk, 4 outstanding', { syncUs: 5000, asyncUs: 5100 }, 4, false],
  ];

  test.each(disks)('%s', (_, disk, outstanding, sync) => {
    for (let seed = 1; seed <= 5; seed++) {
      const share = shareOfSync(new DispatchPolicy(), disk, outstanding, random(seed), 1e9);
      if (sync) expect(share).toBeGreaterThan(0.95);
      else expect(share).toBeLessThan(0.05);
    }
  });

  test('a disk that changes is learnt anew', () => {
    for (let seed = 1; seed <= 5; seed++) {
      const noise = random(seed);
      const policy = new DispatchPolicy();
      expect(shareOfSync(policy, { syncUs: 0.8, asyncUs: 22 }, 8, noise, 1e9)).toBeGreaterThan(0.9);
      expect(shareOfSync(policy, { syncUs: 90, asyncUs: 110 }, 8, noise, 1e12)).toBeLessThan(0.1);
      // Trials are paid for in time: what was dear is tried seldom, until it is known not to be.
      expect(shareOfSync(policy, { syncUs: 0.8, asyncUs: 22 }, 8, noise, 2e12, 30_000)).toBeGreaterThan(0.9);
    }
  });
});
