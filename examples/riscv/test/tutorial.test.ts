// The tutorial's pieces, in order, are a program: it is compiled and run as it stands there.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../../../', import.meta.url));
const file = join(root, 'docs/add-a-disk-to-your-emulator.md');
const tutorial = readFileSync(file, 'utf8');

/** The code blocks of one language, in order. */
const blocks = (language: string): string[] =>
  [...tutorial.matchAll(new RegExp(`^\`\`\`${language}\\n(.*?)^\`\`\`$`, 'gms'))].map((match) => match[1]!);

/** A block that is a file of its own says so in its first line. */
const ownFile = /^\/\/ (\S+\.ts)\n/;

/** Behind the piece that maps the PCI function: a driver that finds it on the bus, and reads a block through it. */
const PCI_CHECK = `
import { BlkDriver, GuestAllocator, PciDriver } from '@iothreads/core/testing';
{
  const barAt = (offset: number): number => PCI_WINDOW + offset;
  const driver = new PciDriver(
    {
      readConfig: (offset, width) => second.bus.load(ECAM + offset, width),
      writeConfig: (offset, width, value) => second.bus.store(ECAM + offset, width, value),
      readBar: (_, offset, width) => second.bus.load(barAt(offset), width),
      writeBar: (_, offset, width, value) => second.bus.store(barAt(offset), width, value),
    },
    { address: PCI_WINDOW },
  );
  const allocator = new GuestAllocator([{ guestAddress: RAM_BASE, buffer: second.bus.ram }]);
  const addresses = allocator.allocateQueue(8);
  driver.start([addresses]);
  const queue = new BlkDriver(allocator, { addresses, depth: 1, dataBytes: 512, eventIdx: true });
  queue.start(queue.takeSlot(), 0, 0, 512);
  queue.publish();
  driver.kick(0);
  for (let slot = -1; slot === -1; slot = queue.takeDone()) await setImmediate();
  console.log('PCI: status', queue.status(0), 'BAR', barBase === PCI_WINDOW);
  await pciDisk.settled();
}
`;

let directory: string;

beforeAll(() => {
  // Inside this package, so that the program finds what it imports.
  directory = mkdtempSync(fileURLToPath(new URL('.tutorial-', import.meta.url)));
});

afterAll(() => {
  rmSync(directory, { recursive: true });
});

/** Runs a program in the directory; its output is part of the failure. */
function run(...args: string[]): string {
  try {
    return execFileSync(process.execPath, args, {
      cwd: directory,
      encoding: 'utf8',
      stdio: 'pipe',
      timeout: 50_000,
    });
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string };
    expect.fail(`${args.join(' ')}\n${stdout}${stderr}`);
  }
}

test('the pieces compile and run', () => {
  const program: string[] = [];
  for (const block of blocks('ts')) {
    const name = ownFile.exec(block)?.[1];
    if (name === undefined) program.push(block, block.includes('new VirtioPci(') ? PCI_CHECK : '');
    else writeFileSync(join(directory, name), block);
  }
  writeFileSync(join(directory, 'tutorial.ts'), program.join('\n'));
  writeFileSync(
    join(directory, 'tsconfig.json'),
    JSON.stringify({
      extends: '../../../../tsconfig.base.json',
      compilerOptions: {
        // What browsers have, WebAssembly among it.
        lib: ['es2024', 'dom'],
        types: ['node'],
        noUnusedLocals: false,
        composite: false,
        declaration: false,
        declarationMap: false,
      },
      include: ['*.ts'],
    }),
  );
  run(join(root, 'node_modules/typescript/bin/tsc'), '-p', '.');
  const plain = (text: string): string => text.replaceAll(/\d+ us each/g, 'N us each');
  const [shown] = blocks('text').map(plain);
  const sleeping = (serial: string): string =>
    shown!.replace('polls', 'waits for interrupts').replace('tutorial', serial);
  const guests = plain(run('tutorial.js')).split(/^(?=A RISC-V guest)/m);
  expect(guests[0]).toBe('A RISC-V guest looks for disks, and polls\n0 errors\n');
  expect(guests[1]).toBe(shown);
  expect(guests[2]).toMatch(/^1001 reads, \d+ of them synchronous\n$/m);
  expect(guests[2]!.replace(/^1001 reads.*\n$/m, '')).toBe(sleeping('disk0'));
  expect(guests[3]).toBe(`${sleeping('disk2')}PCI: status 0 BAR true\n`);
  // The one that was saved, and went on elsewhere.
  expect(guests.slice(4)).toEqual([shown!.replace('tutorial', 'before')]);
});

test('the files that it names are there', () => {
  const links = [...tutorial.matchAll(/\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)/g)].map((match) => match[1]!);
  expect(links.length).toBeGreaterThan(5);
  for (const link of links) expect(existsSync(resolve(dirname(file), link)), link).toBe(true);
});
