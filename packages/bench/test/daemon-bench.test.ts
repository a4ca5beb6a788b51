// The bench of the storage daemons: what it measures, not how quick anything is.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const program = fileURLToPath(new URL('../dist/cli/daemon.js', import.meta.url));
const run = (...args: string[]) => spawnSync(process.execPath, [program, ...args], { encoding: 'utf8' });
const missing = spawnSync('qemu-storage-daemon', ['--version']).status !== 0;
if (missing)
  process.stderr.write('skipped: qemu-storage-daemon is not installed (Debian: qemu-system-common)\n');

test.each([
  [['--speed'], "Unknown option '--speed'"],
  [['--rounds', '0'], "--rounds takes a number from 1 to 1000, got '0'"],
])('tells a mistake in one line: %s', (args, message) => {
  const { status, stdout, stderr } = run(...args);
  expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
  expect(stderr).toContain(message);
  expect(stderr.split('\n')).toHaveLength(2);
});

test.skipIf(missing)(
  'drives both daemons, counts what they do, and fits 80 columns',
  () => {
    const directory = mkdtempSync(join(tmpdir(), 'iothreads-bench-'));
    try {
      const json = join(directory, 'result.json');
      const args = [
        '--quick',
        '--cells',
        '--disk',
        'cached',
        '--rounds',
        '1',
        '--runtime',
        '0.02',
        '--json',
        json,
      ];
      const { status, stdout, stderr } = run(...args);
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      for (const line of stdout.split('\n').slice(1)) expect(line.length, line).toBeLessThanOrEqual(80);
      const result = JSON.parse(readFileSync(json, 'utf8')) as {
        cells: {
          client: string;
          depth: number;
          qemu: Record<string, number>;
          ours: Record<string, number>;
        }[];
      };
      expect(result.cells.map(({ client, depth }) => [client, depth])).toEqual([
        ['event', 1],
        ['event', 32],
        ['poll', 1],
        ['poll', 32],
      ]);
      for (const { qemu, ours } of result.cells) {
        for (const figures of [qemu, ours]) {
          expect(Object.values(figures).every((value) => value > 0)).toBe(true);
          expect(figures['max_us']).toBeGreaterThanOrEqual(figures['mean_us']!);
        }
      }
    } finally {
      rmSync(directory, { recursive: true });
    }
  },
  120_000,
);
