// Arrows between the packages run one way.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const root = fileURLToPath(new URL('../packages/', import.meta.url));

/** What each package may import of ours. */
const allowed: Readonly<Record<string, readonly string[]>> = {
  core: [],
  linux: [],
  backends: ['@iothreads/core', '@iothreads/linux'],
  iothread: ['@iothreads/core', '@iothreads/backends', '@iothreads/linux'],
  'vhost-user': ['@iothreads/core', '@iothreads/backends', '@iothreads/iothread', '@iothreads/linux'],
  v86: ['@iothreads/core', '@iothreads/iothread'],
  'storage-daemon': [
    '@iothreads/core',
    '@iothreads/backends',
    '@iothreads/iothread',
    '@iothreads/linux',
    '@iothreads/vhost-user',
  ],
  bench: [
    '@iothreads/core',
    '@iothreads/backends',
    '@iothreads/iothread',
    '@iothreads/linux',
    '@iothreads/v86',
    '@iothreads/vhost-user',
  ],
};

/** These go on without the calls to C: they load them when they need them, and take types alone otherwise. */
const lazyOfLinux = ['backends', 'iothread'];

const packages = readdirSync(root, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map((entry) => entry.name);

/** Import specifiers of a module, those of types and the dynamic ones included. */
function specifiersOf(source: string): string[] {
  const found = source.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*(['"])([^'"\n]+)\1/g);
  return [...found].map((match) => match[2]!);
}

function sourcesOf(name: string): string[] {
  const src = join(root, name, 'src');
  return readdirSync(src, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.[mc]?ts$/.test(file))
    .map((file) => join(src, file));
}

/** `@iothreads/core/testing` is of `@iothreads/core`. */
const packageOf = (specifier: string): string => specifier.split('/').slice(0, 2).join('/');

test('the imports of a module are found', () => {
  const source = `
import { a } from '@iothreads/core';
import type { B } from "@iothreads/backends";
import {
  c,
} from './c.js';
import '../side/effect.js';
export * from '@iothreads/iothread';
const d = await import('koffi');
type E = import('@iothreads/core/testing').E;
`;
  expect(specifiersOf(source)).toEqual([
    '@iothreads/core',
    '@iothreads/backends',
    './c.js',
    '../side/effect.js',
    '@iothreads/iothread',
    'koffi',
    '@iothreads/core/testing',
  ]);
});

test('every package has its place', () => {
  expect(packages.toSorted()).toEqual(Object.keys(allowed).toSorted());
});

describe.each(packages)('%s', (name) => {
  const own = `@iothreads/${name}`;
  const ours = allowed[name] ?? [];

  test('imports of ours only what it may', () => {
    const sources = sourcesOf(name);
    expect(sources.length).toBeGreaterThan(0);
    for (const file of sources) {
      for (const specifier of specifiersOf(readFileSync(file, 'utf8'))) {
        const where = `${relative(root, file)}: ${specifier}`;
        if (specifier.startsWith('@iothreads/')) expect(ours, where).toContain(packageOf(specifier));
        if (specifier.startsWith('.')) {
          // Not around the others' doors either.
          const target = relative(join(root, name, 'src'), resolve(dirname(file), specifier));
          expect(target.startsWith('..'), where).toBe(false);
        }
      }
    }
  });

  test('declares what it imports', () => {
    const manifest = JSON.parse(readFileSync(join(root, name, 'package.json'), 'utf8')) as {
      name: string;
      dependencies?: Record<string, string>;
      optionalDependencies?: Record<string, string>;
      peerDependencies?: Record<string, string>;
    };
    expect(manifest.name).toBe(own);
    const { dependencies, optionalDependencies, peerDependencies } = manifest;
    const declared = Object.keys({ ...dependencies, ...optionalDependencies, ...peerDependencies });
    for (const dependency of declared) {
      if (dependency.startsWith('@iothreads/')) expect(ours).toContain(dependency);
    }
    for (const file of sourcesOf(name)) {
      for (const specifier of specifiersOf(readFileSync(file, 'utf8'))) {
        if (specifier.startsWith('.') || specifier.startsWith('node:')) continue;
        const dependency = specifier.startsWith('@') ? packageOf(specifier) : specifier.split('/')[0]!;
        expect(declared, `${relative(root, file)}: ${specifier}`).toContain(dependency);
      }
    }
  });
});

test('only the package of system calls loads koffi', () => {
  for (const name of packages.filter((each) => each !== 'linux')) {
    for (const file of sourcesOf(name)) {
      expect(specifiersOf(readFileSync(file, 'utf8')), relative(root, file)).not.toContain('koffi');
    }
  }
});

test.each(lazyOfLinux)('%s loads the system calls only when it needs them', (name) => {
  // What lies in a folder named linux is loaded as a whole, by somebody outside who waits for it.
  for (const file of sourcesOf(name).filter((each) => !/[\\/]linux[\\/]/.test(relative(root, each)))) {
    const source = readFileSync(file, 'utf8');
    for (const [statement] of source.matchAll(
      /^(?:import|export)\b[^;]*?from '(?:@iothreads\/linux|[./]+\/linux\/[^']*)';/gm,
    )) {
      expect(statement, relative(root, file)).toMatch(/^(?:import|export) type\b/);
    }
  }
});

test('core needs neither Node.js nor anybody else', () => {
  for (const file of sourcesOf('core')) {
    for (const specifier of specifiersOf(readFileSync(file, 'utf8'))) {
      expect(specifier, relative(root, file)).toMatch(/^\.\.?\//);
    }
  }
});

test('what is meant for tests is imported by benches, tests and the front end alone', () => {
  for (const name of packages.filter((each) => each !== 'bench')) {
    for (const file of sourcesOf(name)) {
      if (relative(root, file).startsWith(join('vhost-user', 'src', 'front-end'))) continue;
      for (const specifier of specifiersOf(readFileSync(file, 'utf8'))) {
        expect(specifier, relative(root, file)).not.toMatch(/^@iothreads\/\w+\/testing$/);
      }
    }
  }
});
