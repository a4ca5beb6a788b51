// What the README shows is compiled and run as it stands there.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('..', import.meta.url));
let directory: string;

beforeAll(() => {
  // Inside this package, so that the snippet finds what it imports.
  directory = mkdtempSync(join(root, 'test', '.readme-'));
});

afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

/** Runs a program of the snippet's directory; its output is part of the failure. */
function run(...args: string[]): void {
  try {
    execFileSync(process.execPath, args, {
      cwd: directory,
      encoding: 'utf8',
      stdio: 'pipe',
      timeout: 60_000,
    });
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    expect.fail(`${args.join(' ')}\n${stdout}${stderr}`);
  }
}

test('the snippet of the runtime’s API compiles and runs', () => {
  const [, snippet] = /```ts\n([^]*?)```/.exec(readFileSync(join(root, 'README.md'), 'utf8')) ?? [];
  expect(snippet).toContain('new IOThreadRuntime()');
  writeFileSync(join(directory, 'package.json'), '{ "type": "module" }');
  writeFileSync(join(directory, 'disk.img'), new Uint8Array(1 << 20));
  writeFileSync(
    join(directory, 'snippet.ts'),
    `${snippet}\nfunction raiseInterrupt(queue: number): void {\n  void queue;\n}\n`,
  );
  writeFileSync(
    join(directory, 'tsconfig.json'),
    JSON.stringify({
      extends: '../../tsconfig.base.json',
      // Node.js 20 knows no `await using`: this target has it compiled away.
      compilerOptions: {
        target: 'es2022',
        types: ['node'],
        composite: false,
        declaration: false,
        declarationMap: false,
      },
      include: ['snippet.ts'],
    }),
  );
  run(join(root, 'node_modules/typescript/bin/tsc'), '-p', '.');
  run('snippet.js');
});
