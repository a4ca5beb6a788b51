import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { ExperimentResult } from '../dist/results.js';

const CLI = fileURLToPath(new URL('../dist/cli/experiment.js', import.meta.url));
const LATENCIES = ['mean', 'p50', 'p90', 'p99', 'p99_9', 'max'] as const;

let directory: string;

const run = (...args: string[]): ReturnType<typeof spawnSync> & { stdout: string; stderr: string } =>
  spawnSync(process.execPath, [CLI, ...args], { cwd: directory, encoding: 'utf8', timeout: 120_000 });

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'iothreads-cli-'));
});

afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

describe('the experiment, from the command line', () => {
  test('measures every cell, writes the report and the JSON file', { timeout: 150_000 }, () => {
    const args = ['--json', 'run.json', '--jobs', '1,4', '--latency-us', '30', '--runtime', '0.06'];
    const { status, stdout, stderr } = run(...args);
    expect(stderr).toBe('');
    expect(status).toBe(0);
    expect(stdout).toContain('out/report.html');
    expect(stdout).not.toContain('\u001b');
    expect(Math.max(...stdout.split('\n').map((line) => line.length))).toBeLessThanOrEqual(80);

    const result = JSON.parse(readFileSync(join(directory, 'run.json'), 'utf8')) as ExperimentResult;
    const cells = result.experiment.map(({ disk, mode, jobs }) => `${disk} ${mode} ${jobs}`);
    const expected = ['null-30us', 'file'].flatMap((disk) =>
      [1, 4].flatMap((jobs) => ['aio', 'sio', 'auto'].map((mode) => `${disk} ${mode} ${jobs}`)),
    );
    expect(cells.sort()).toEqual(expected.sort());
    for (const cell of [...result.experiment, ...result.sharing]) {
      for (const latency of LATENCIES) expect(cell.latency_us[latency], latency).toBeGreaterThan(0);
      const counted = cell.histogram.reduce((sum, [, count]) => sum + count, 0);
      // The device's side counts what the guest's side measured: nothing is lost on the way.
      expect(counted).toBe(cell.sync + cell.async);
    }
    for (const { mode, sync, async } of result.experiment) {
      if (mode === 'aio') expect(sync).toBe(0);
      if (mode === 'sio') expect(async).toBe(0);
    }
    for (const { placement, mode, sync } of result.sharing) {
      if (placement === 'shared' && mode === 'auto') expect(sync).toBe(0);
    }
    expect(result.sharing).toHaveLength(9);
    expect(result.scale.map(({ idle_devices: idle }) => idle)).toEqual([0, 100]);
    const steps = ['doorbell', 'wake-up', 'pop', 'submit', 'complete', 'interrupt'];
    const variants = ['asleep', 'asleep-eventfd', 'polling', 'file-threads', 'file-io_uring'].filter(
      (variant) => process.platform === 'linux' || !/eventfd|uring/.test(variant),
    );
    expect(result.breakdown.map(({ step, variant }) => `${variant} ${step}`)).toEqual(
      variants.flatMap((variant) => steps.map((step) => `${variant} ${step}`)),
    );
    expect(readFileSync(join(directory, 'out/report.html'), 'utf8')).toContain('<svg');
  });

  test.each([
    ['--jobs', '0', "--jobs takes numbers from 1 to 64, got '0'"],
    ['--jobs', '1,x', "--jobs takes numbers from 1 to 64, got '1,x'"],
    ['--latency-us', '7', "--latency-us takes 30 or 2, or both, got '7'"],
    ['--runtime', 'long', "--runtime takes seconds from 0.05 to 3600, got 'long'"],
    ['--speed', '9', "Unknown option '--speed'; npm start -- --help lists the options"],
  ])('tells a mistake in one line: %s %s', (option, value, message) => {
    const { status, stderr, stdout } = run(option, value);
    expect({ status, stderr, stdout }).toEqual({ status: 1, stderr: `${message}\n`, stdout: '' });
  });
});

test.each(['SIGINT', 'SIGTERM'] as const)('%s in the middle leaves no file behind', async (signal) => {
  const scratch = mkdtempSync(join(tmpdir(), 'iothreads-cli-'));
  const child = spawn(process.execPath, [CLI, '--quick'], { cwd: directory, env: { TMPDIR: scratch } });
  try {
    while (readdirSync(scratch).length === 0) await setTimeout(20);
    child.kill(signal);
    const [code] = (await once(child, 'exit')) as [number];
    expect(code).toBe(signal === 'SIGINT' ? 130 : 143);
    expect(readdirSync(scratch)).toEqual([]);
  } finally {
    child.kill('SIGKILL');
    rmSync(scratch, { recursive: true, force: true });
  }
});
