// The program as `npm run example` starts it.
import { SECTOR_SIZE } from '@iothreads/core';
import { GUEST_SECTOR, guestSector } from '@iothreads/example-riscv/guest/exercise';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';

const main = fileURLToPath(import.meta.resolve('@iothreads/example-riscv/main'));
let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'iothreads-main-'));
});

afterAll(() => {
  rmSync(directory, { recursive: true });
});

function run(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [main, ...args], { encoding: 'utf8', timeout: 50_000 });
}

test('without options: two scratch disks, one of which moves', () => {
  const { status, stdout, stderr } = run();
  expect([status, stderr]).toEqual([0, '']);
  expect(stdout).toContain('A RISC-V guest looks for disks, and polls\n');
  expect(stdout).toMatch(/0 errors\n/);
  expect(stdout).toMatch(/^disk0, on iothread1: 1001 reads .*, 1 writes, 1 flushes$/m);
  expect(stdout).toMatch(/^disk1, on iothread0: 1001 reads .*, 1 writes, 1 flushes$/m);
});

test('with interrupts, and images of one’s own', () => {
  const filename = join(directory, 'disk.img');
  writeFileSync(filename, new Uint8Array(1 << 20));
  const { status, stdout } = run('--interrupts', '--disk', filename);
  expect(stdout).toContain('waits for interrupts\n');
  expect(status).toBe(0);
  const at = GUEST_SECTOR * SECTOR_SIZE;
  expect(new Uint8Array(readFileSync(filename)).subarray(at, at + SECTOR_SIZE)).toEqual(guestSector(0));
});

test.each([
  ['--what', "Unknown option '--what'"],
  ['--disk', "Option '--disk <value>' argument missing"],
  ['--disk=/nowhere/disk.img', '/nowhere/disk.img: '],
])('a mistake is one line: %s', (argument, message) => {
  const { status, stderr } = run(argument);
  expect(status).toBe(1);
  expect(stderr).toContain(message);
  expect(stderr.trimEnd().split('\n')).toHaveLength(1);
});
