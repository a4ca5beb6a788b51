// What the README shows is compiled and run as it stands there.
import { VhostUserFrontEnd } from '@iothreads/vhost-user/front-end';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { until } from './support/within.js';

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

/** Compiles a snippet of TypeScript, and runs it. */
function compileAndRun(snippet: string): void {
  writeFileSync(join(directory, 'package.json'), '{ "type": "module" }');
  writeFileSync(join(directory, 'disk.img'), new Uint8Array(1 << 20));
  writeFileSync(join(directory, 'snippet.ts'), snippet);
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
}

/** The code blocks of a section, in order. */
function blocksOf(title: string): string[] {
  const readme = readFileSync(join(root, 'README.md'), 'utf8');
  const section = readme.split(/^## /m).find((each) => each.startsWith(`${title}\n`))!;
  return [...section.matchAll(/```\w+\n([^]*?)```/g)].map((match) => match[1]!);
}

test('the snippet of the runtime’s API compiles and runs', () => {
  const [snippet] = blocksOf('Use it in an emulator');
  expect(snippet).toContain('new IOThreadRuntime()');
  compileAndRun(`${snippet}\nfunction setInterrupt(level: boolean): void {\n  void level;\n}\n`);
});

test('a machine in a file is what its snippet makes of it', () => {
  const [machine, snippet] = blocksOf('Many devices in one file');
  writeFileSync(join(directory, 'machine.json'), machine!);
  compileAndRun(
    `${snippet}\nif (vda!.iothreads.join() !== 'iothread0' || vdb!.iothreads.join() !== 'iothread0,iothread1') {
  throw new Error('other iothreads');
}
if (!(await runtime.queryIOThreads()).every(({ syncAllowed }, index) => syncAllowed === (index === 1))) {
  throw new Error('synchronous on the wrong iothread');
}
`,
  );
});

describe.skipIf(process.platform !== 'linux')('the storage daemon', () => {
  const running: ChildProcess[] = [];

  afterAll(() => {
    for (const child of running) child.kill('SIGKILL');
  });

  /** Runs a command of the README as a shell would, in the directory. @returns what it prints, as it grows */
  function start(command: string): { readonly output: string } {
    const child = spawn('bash', ['-c', `exec ${command}`], {
      cwd: directory,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    running.push(child);
    const printed = { output: '' };
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (text: Buffer) => (printed.output += text.toString()));
    }
    return printed;
  }

  const daemon = (command: string): { readonly output: string } =>
    start(command.replace('node_modules/.bin/', `${join(root, 'node_modules/.bin')}/`));

  test('serves a disk, and QEMU takes it', async () => {
    const [serve, qemu] = blocksOf('Serve a disk to QEMU');
    const [truncate, ...command] = serve!.split('\n');
    rmSync(join(directory, 'disk.img'), { force: true });
    execFileSync('bash', ['-c', truncate!], { cwd: directory });
    const printed = daemon(command.join('\n'));
    await until(
      'a socket',
      () => existsSync(join(directory, 'disk.sock')),
      () => printed.output,
    );
    const frontEnd = await VhostUserFrontEnd.connect(join(directory, 'disk.sock'));
    await frontEnd.queues[0]!.write(8, new Uint8Array(512).fill(7));
    expect((await frontEnd.queues[0]!.read(8, 512))[0]).toBe(7);
    expect(await frontEnd.capacitySectors()).toBe(2 ** 21);
    await frontEnd.close();
    if (spawnSync('qemu-system-x86_64', ['--version']).status !== 0) return;
    const connected = (): number => printed.output.split('front end connected').length - 1;
    await until(
      'the end of the first connection',
      () => printed.output.includes('disconnected'),
      () => printed.output,
    );
    // It needs no guest to take the disk.
    const machine = start(`${qemu!.trim()} -display none -S`);
    await until(
      'QEMU to connect',
      () => connected() === 2,
      () => printed.output + machine.output,
    );
  });

  test('serves a disk of one’s own', async () => {
    const [module, command] = blocksOf('Write your own disk');
    writeFileSync(join(directory, 'disk.mjs'), module!);
    rmSync(join(directory, 'disk.sock'), { force: true });
    for (const child of running.splice(0)) child.kill('SIGKILL');
    const printed = daemon(command!);
    await until(
      'a socket',
      () => printed.output.includes('ready'),
      () => printed.output,
    );
    const frontEnd = await VhostUserFrontEnd.connect(join(directory, 'disk.sock'));
    const bytes = await frontEnd.queues[0]!.read(1000, 1024);
    const view = new DataView(bytes.buffer, bytes.byteOffset);
    expect([view.getUint32(0, true), view.getUint32(512, true)]).toEqual([1000, 1001]);
    await frontEnd.close();
  });
});
