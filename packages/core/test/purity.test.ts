import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const dist = fileURLToPath(new URL('../dist/', import.meta.url));
const run = promisify(execFile);

test('no built file imports anything but files beside it', async () => {
  const files = (await readdir(dist, { recursive: true })).filter((name) => name.endsWith('.js'));
  expect(files).toContain('index.js');
  expect(files.length).toBeGreaterThan(15);
  let imports = 0;
  for (const name of files) {
    const text = await readFile(dist + name, 'utf8');
    for (const [, specifier] of text.matchAll(
      /(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\s*\(\s*)['"]([^'"]+)['"]/g,
    )) {
      imports++;
      expect(`${name}: ${specifier}`).toMatch(/: \.\.?\//);
    }
  }
  expect(imports).toBeGreaterThan(30);
});

test(
  'it loads and serves a request where there is neither Node nor a timer',
  { timeout: 50_000 },
  async () => {
    const script = fileURLToPath(new URL('fixtures/bare-host.mjs', import.meta.url));
    const { stdout } = await run(process.execPath, [script], { timeout: 50_000 });
    expect(stdout).toBe('served\n');
  },
);
