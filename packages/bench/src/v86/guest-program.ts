import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SOURCE = fileURLToPath(new URL('../../guest/disk-read.c', import.meta.url));
const OPTIONS = [
  '-m32',
  '-O1',
  '-static',
  '-nostdlib',
  '-ffreestanding',
  '-fno-pie',
  '-no-pie',
  '-fno-stack-protector',
];

/** Compiles the guest's side of the bench. @throws Error with what the compiler says, or that there is none */
export function compileGuestProgram(directory: string): Buffer {
  const program = join(directory, 'disk-read');
  const { status, stderr, error } = spawnSync('gcc', [...OPTIONS, '-o', program, SOURCE], {
    encoding: 'utf8',
  });
  if (status !== 0)
    throw new Error(`the bench needs gcc on x86-64: ${error?.message ?? stderr}`, { cause: error });
  return readFileSync(program);
}
