// The runtime works on systems where no native module can be loaded: none is.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { fixture } from './support/fixture.js';
import { within } from './support/within.js';

interface Ended {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a fixture in a process of its own, whose threads can load no native module. */
function run(...args: readonly string[]): Promise<Ended> {
  const child = spawn(process.execPath, [
    '--import',
    fixture('no-native.mjs'),
    fileURLToPath(fixture('whole-runtime.mjs')),
    ...args,
  ]);
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (text: Buffer) => (stdout += text.toString()));
  child.stderr.on('data', (text: Buffer) => (stderr += text.toString()));
  const ended = new Promise<Ended>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => {
      resolve({ code, stdout, stderr });
    });
  });
  return within(ended, 'the end of the process', () => {
    child.kill('SIGKILL');
    return stdout + stderr;
  });
}

const WORKED = 'null 20\nmemory 20\nfile 20\nmodule 20\nclosed\n';

/** Lines about native modules, but for those about the system calls: they are tried, on Linux, and done without. */
const withoutKoffi = (stderr: string): string => stderr.replace(/^native: .*koffi.*\n/gm, '');

test('everything works without a native module, and nothing asks for one but the system calls', async () => {
  const { code, stdout, stderr } = await run();
  expect({ code, stdout, stderr: withoutKoffi(stderr) }).toEqual({ code: 0, stdout: WORKED, stderr: '' });
  if (process.platform === 'linux') expect(stderr).toMatch(/koffi/);
});

test('a native module on an iothread would be noticed', async () => {
  const { code, stdout, stderr } = await run('control');
  expect({ code, stdout }).toEqual({ code: 0, stdout: WORKED });
  // Once on each of the two iothreads that the disk was on.
  expect(withoutKoffi(stderr)).toBe('native: control.node\n'.repeat(2));
});
