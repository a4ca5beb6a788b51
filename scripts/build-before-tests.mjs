import { execFileSync } from 'node:child_process';

/** Vitest's global set-up: the tests run what has been built, so build it. */
export function setup() {
  execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-b'], { stdio: 'inherit' });
}
