// Who may connect to a socket in the file system, at every moment.
import { closeFd, listenUnix } from '@iothreads/linux';
import fs, { mkdtempSync, rmSync, statSync } from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';

let directory: string;
let umask: number;
const { lstatSync } = fs;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'iothreads-mode-'));
  umask = process.umask();
});

afterEach(() => {
  process.umask(umask);
  Object.assign(fs, { lstatSync });
  syncBuiltinESMExports();
  rmSync(directory, { recursive: true });
});

const modeOf = (path: string): string => (statSync(path, { bigint: true }).mode & 0o7777n).toString(8);

test.each([
  [0o000, undefined, '600'],
  [0o022, undefined, '600'],
  [0o000, 0o660, '660'],
  [0o022, 0o666, '666'],
  [0o077, 0o660, '660'],
  [0o777, 0o600, '600'],
])('umask %o and mode %o', (mask, mode, expected) => {
  const path = join(directory, 'socket');
  process.umask(mask);
  const fd = listenUnix(path, { mode });
  expect(modeOf(path)).toBe(expected);
  // Nobody's umask has changed.
  expect(process.umask()).toBe(mask);
  closeFd(fd);
});

test('the mode is not wider for a moment, either', () => {
  const path = join(directory, 'socket');
  const seen: string[] = [];
  // The first look at the path comes right after bind(2).
  const looking = (...args: Parameters<typeof lstatSync>) => {
    if (args[0] === path) seen.push(modeOf(path));
    return lstatSync(...args);
  };
  Object.assign(fs, { lstatSync: looking });
  syncBuiltinESMExports();
  process.umask(0);
  closeFd(listenUnix(path));
  expect(seen).toEqual(['600']);
});
