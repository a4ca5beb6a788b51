// What the README shows runs as it stands there, on a machine that has nothing to boot.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

const PACKAGE = fileURLToPath(new URL('..', import.meta.url));

test('the README attaches a disk', () => {
  const snippet = /```ts\n(.*?)```/s.exec(readFileSync(join(PACKAGE, 'README.md'), 'utf8'))![1]!;
  // Within the package, so that the snippet finds what it imports.
  const directory = mkdtempSync(join(PACKAGE, 'test', '.readme-'));
  try {
    const before = `const wasm_path = new URL('v86.wasm', import.meta.resolve('v86')).pathname;\n`;
    const behind = `console.log(emulator.v86.cpu.devices.pci.devices[0x0f << 3].name);\nprocess.exit();\n`;
    writeFileSync(join(directory, 'disk.img'), new Uint8Array(1 << 20));
    writeFileSync(join(directory, 'bios.bin'), new Uint8Array(1 << 17));
    writeFileSync(join(directory, 'snippet.mjs'), before + snippet + behind);
    const { stdout, stderr } = spawnSync(process.execPath, ['snippet.mjs'], {
      cwd: directory,
      encoding: 'utf8',
    });
    expect(stderr).toBe('');
    expect(stdout).toContain('virtio-blk vda');
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
