import type { FileDriveOptions } from '@iothreads/backends';
import { execFileSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const fixture = (name: string): string => fileURLToPath(new URL(`fixtures/${name}`, import.meta.url));

/** What `fixtures/write-and-read.mjs` says of drives, one after the other, in a process that has preloaded another fixture. */
export function writeAndRead(preloaded: string, ...drives: readonly FileDriveOptions[]): unknown[] {
  const output = execFileSync(
    process.execPath,
    [
      '--import',
      fixture(preloaded),
      fixture('write-and-read.mjs'),
      ...drives.map((drive) => JSON.stringify(drive)),
    ],
    { encoding: 'utf8', timeout: 60_000 },
  );
  return output
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);
}
