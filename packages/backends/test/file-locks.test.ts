import { holdDrive, openDrive, type FileDriveOptions } from '@iothreads/backends';
import { spawn, spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { image, openFiles } from './file-variants.js';
import { driverError, expectBytes, hold, onTestEnd } from './support.js';

const isLinux = process.platform === 'linux';
const hasQemu = isLinux && spawnSync('qemu-io', ['--version']).status === 0;

const file = (filename: string, more: Partial<FileDriveOptions> = {}): FileDriveOptions => ({
  driver: 'file',
  filename,
  ...more,
});

const inUse = (filename: string): object => ({
  code: 'ERR_DRIVE_LOCKED',
  message:
    `${filename}: is in use for writing, by another process or another drive; ` +
    'stop that one first, or open it read-only, or say locking=off',
});

/** Another process that tries to hold a drive. @returns what it says, and how to end it, well or not */
async function otherProcess(
  drive: FileDriveOptions,
  ...more: readonly string[]
): Promise<{ said: string; end: () => Promise<void>; kill: () => Promise<void> }> {
  const script = fileURLToPath(new URL('fixtures/hold.mjs', import.meta.url));
  const child = spawn(process.execPath, [script, JSON.stringify(drive), ...more], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const closed = new Promise<void>((resolve) => {
    child.on('close', () => {
      resolve();
    });
  });
  onTestEnd(() => {
    child.kill('SIGKILL');
  });
  const said = await new Promise<string>((resolve) => {
    let text = '';
    child.stdout.on('data', (chunk: Buffer) => {
      text += chunk.toString();
      if (text.includes('\n')) resolve(text.trimEnd());
    });
    child.on('close', () => {
      resolve(text.trimEnd());
    });
  });
  return {
    said,
    end: () => {
      child.stdin.end();
      return closed;
    },
    kill: () => {
      child.kill('SIGKILL');
      return closed;
    },
  };
}

describe.runIf(isLinux)('one writer at a time', () => {
  test('in one process', async () => {
    const filename = image(new Uint8Array(4096));
    const held = await holdDrive(file(filename));
    const second = file(filename, { locking: 'on' });
    expect(await driverError(() => holdDrive(second))).toMatchObject(inUse(filename));
    await held.close();
    await (await holdDrive(second)).close();
  });

  test('also right after an io_uring has worked on the file', async () => {
    const filename = image(new Uint8Array(4096));
    for (let i = 0; i < 20; i++) {
      const held = await holdDrive(file(filename, { aio: 'io_uring' }));
      const driver = await openDrive(held.prepared, { nowNs: () => 0, attend: () => {} });
      await driver.close();
      await held.close();
    }
  });

  test('who was killed is none any more, though the kernel keeps the files of its io_uring for a while', async () => {
    const filename = image(new Uint8Array(4096));
    for (let i = 0; i < 5; i++) {
      const dead = await otherProcess(file(filename, { aio: 'io_uring' }), 'open');
      expect(dead.said).toBe('held');
      await dead.kill();
      await (await holdDrive(file(filename))).close();
    }
  });

  test('in two processes, whoever comes first', async () => {
    const filename = image(new Uint8Array(4096));
    const first = await otherProcess(file(filename));
    expect(first.said).toBe('held');
    expect(await driverError(() => holdDrive(file(filename)))).toMatchObject(inUse(filename));
    await first.end();
    await hold(file(filename));
    expect((await otherProcess(file(filename))).said).toMatch(/^ERR_DRIVE_LOCKED .* in use for writing/);
  });

  test('readers are let in beside the writer, and the writer beside readers', async () => {
    const filename = image(new Uint8Array(4096));
    const reader = await hold(file(filename, { readOnly: true }));
    await hold(file(filename));
    await hold(file(filename, { locking: 'on' }), true);
    expect((await otherProcess(file(filename, { readOnly: true }))).said).toBe('held');
    expect(reader.notices).toEqual([]);
  });

  test('unless the operator says locking=off', async () => {
    const filename = image(new Uint8Array(4096));
    await hold(file(filename));
    await hold(file(filename, { locking: 'off' }));
    expect((await otherProcess(file(filename, { locking: 'off' }))).said).toBe('held');
  });

  test('a file that is refused is closed again', async () => {
    const filename = image(new Uint8Array(4096));
    const held = await hold(file(filename));
    const open = (): number => openFiles().filter((name) => name === filename).length;
    const before = open();
    expect(before).toBe(1);
    for (let i = 0; i < 5; i++) await driverError(() => holdDrive(file(filename)));
    expect(open()).toBe(before);
    await held.close();
    expect(open()).toBe(0);
  });
});

// QEMU's own tools keep to the same locks.
describe.runIf(hasQemu)('beside QEMU', () => {
  const qemuIo = (filename: string, ...commands: string[]) =>
    spawnSync('qemu-io', ['-f', 'raw', ...commands.flatMap((command) => ['-c', command]), filename], {
      encoding: 'utf8',
      timeout: 30_000,
    });

  test('what we write to, QEMU does not', async () => {
    const filename = image(new Uint8Array(4096).fill(7));
    const held = await hold(file(filename));
    const refused = qemuIo(filename, 'write 0 512');
    expect(refused.stderr).toContain('Failed to get "write" lock');
    expectBytes(readFileSync(filename), new Uint8Array(4096).fill(7));
    expect(qemuIo(filename, 'read 0 512').stderr).toContain('Failed to get "write" lock');
    const reading = spawnSync('qemu-io', ['-r', '-f', 'raw', '-c', 'read 0 512', filename], {
      encoding: 'utf8',
    });
    expect(reading.stdout).toContain('read 512/512 bytes');
    await held.close();
    expect(qemuIo(filename, 'write -P 9 0 512').stdout).toContain('wrote 512/512 bytes');
  });

  test('what we only read, QEMU may write to', async () => {
    const filename = image(new Uint8Array(4096));
    await hold(file(filename, { readOnly: true }));
    expect(qemuIo(filename, 'write 0 512').stdout).toContain('wrote 512/512 bytes');
  });

  test('what QEMU writes to, we do not', async () => {
    const filename = image(new Uint8Array(4096));
    // Its prompt comes once the image is open.
    const qemu = spawn('qemu-io', ['-f', 'raw', filename], { stdio: ['pipe', 'pipe', 'inherit'] });
    onTestEnd(() => {
      qemu.kill('SIGKILL');
    });
    await new Promise<void>((resolve) => {
      qemu.stdout.once('data', () => {
        resolve();
      });
    });
    expect(await driverError(() => holdDrive(file(filename)))).toMatchObject(inUse(filename));
    await (await holdDrive(file(filename), true)).close();
    const ended = new Promise<void>((resolve) => {
      qemu.on('close', () => {
        resolve();
      });
    });
    qemu.stdin.end();
    await ended;
    await hold(file(filename));
  });
});
