// What would be published: every package that is not private, packed.
import {
  checkPackage,
  createPackageFromTarballData,
  type Package,
  type Problem,
} from '@arethetypeswrong/core';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { publint } from 'publint';
import { formatMessage } from 'publint/utils';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { pack } from './support/pack.js';
import { publishedPackages } from './support/published-packages.js';

const packages = publishedPackages();
let directory: string;
let tarballs: Map<string, string>;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'iothreads-tarballs-'));
  tarballs = pack(packages, directory);
});

afterAll(() => {
  rmSync(directory, { recursive: true, force: true });
});

/** The packages are ES modules: these ways to find one are CommonJS's. */
const CJS_ONLY = new Set<string>(['node10', 'node16-cjs']);

/** Whether a problem is one of those who import ES modules. */
function concernsModules(problem: Problem): boolean {
  if ('resolutionKind' in problem) return !CJS_ONLY.has(problem.resolutionKind);
  return !('resolutionOption' in problem) || !CJS_ONLY.has(problem.resolutionOption);
}

test('there are packages', () => {
  expect(packages.map(({ name }) => name)).toContain('@iothreads/core');
});

describe.each(packages)('$name', ({ name, doors, bin }) => {
  let bytes: Uint8Array<ArrayBuffer>;
  let content: Package;

  beforeAll(() => {
    bytes = new Uint8Array(readFileSync(tarballs.get(name)!));
    content = createPackageFromTarballData(bytes);
  });

  test('is a package as it should be', async () => {
    const { messages, pkg } = await publint({
      pack: { tarball: bytes.buffer },
      level: 'suggestion',
      strict: true,
    });
    expect(messages.map((message) => formatMessage(message, pkg, { color: false }))).toEqual([]);
  });

  // The command line alone has nothing to import.
  if (doors.length > 0) {
    test('is found with its types', async () => {
      const result = await checkPackage(content);
      if (result.types === false) throw new Error('no types were found');
      const modules = Object.keys(result.entrypoints).filter((subpath) => !subpath.endsWith('.json'));
      expect(modules.map((subpath) => name + subpath.slice(1))).toEqual(doors);
      expect(result.problems.filter(concernsModules)).toEqual([]);
    });
  }

  test('holds what a user wants and nothing else', () => {
    const files = content.listFiles().map((path) => path.replace(`/node_modules/${name}/`, ''));
    for (const file of ['LICENSE', 'README.md', ...Object.values(bin ?? {})]) {
      expect(files).toContain(file.replace('./', ''));
    }
    expect(
      files.filter(
        (file) => !/^(LICENSE|README\.md|package\.json|\w+\.schema\.json|(bin|dist|src)\/)/.test(file),
      ),
    ).toEqual([]);
    expect(files.filter((file) => file.startsWith('dist/') && !/\.(js|d\.ts)(\.map)?$/.test(file))).toEqual(
      [],
    );
    expect(content.readFile(`/node_modules/${name}/package.json`)).not.toContain('workspace:');
  });
});
