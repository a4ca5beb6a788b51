// The packages as users have them: installed from tarballs, outside the workspace, on every version of Node.js that is
// supported, and with the compilers and settings that they may have.
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type CompilerSettings, Consumer } from './support/consumer.js';
import { NODE_MAJORS, nodePath, whyNoNode } from './support/node-versions.js';
import { publishedPackages } from './support/published-packages.js';

const TIMEOUT_MS = 300_000;

const why = whyNoNode();
if (why !== undefined) process.stderr.write(`test/packed: skipped: ${why}\n`);
const title = why === undefined ? 'installed packages' : `installed packages (skipped: ${why})`;

const packages = publishedPackages();
/** Those whose types name none of Node.js's: the others ask for them. */
const pure = packages.filter((each) => each.peerDependencies?.['@types/node'] === undefined);

const COMPILERS = [
  { name: 'TypeScript 7', compiler: 'node_modules/typescript' },
  { name: 'TypeScript 5.9', compiler: 'test/node_modules/typescript-5' },
];
const RESOLUTIONS = [
  { module: 'node16', moduleResolution: 'node16' },
  { module: 'esnext', moduleResolution: 'bundler' },
] as const;
/** With the types of Node.js, unless a test wants none. */
const NODE = ['node'];
const SETTINGS = COMPILERS.flatMap(({ name, compiler }) =>
  RESOLUTIONS.map((resolution) => {
    const settings: CompilerSettings = { compiler, ...resolution, types: NODE };
    return { name: `${name} with ${resolution.moduleResolution}`, settings };
  }),
);

/** A module that imports every door of packages, and says how much there is behind each. */
const importing = (some: readonly { readonly doors: readonly string[] }[]): string => {
  const doors = some.flatMap((each) => each.doors);
  const imports = doors.map((door, index) => `import * as door${index} from '${door}';`);
  const names = doors.map((door, index) => `'${door}': Object.keys(door${index}).length`);
  return `${imports.join('\n')}\nexport const doors: Record<string, number> = { ${names.join(', ')} };\n`;
};

describe.skipIf(why !== undefined)(title, { timeout: TIMEOUT_MS }, () => {
  let consumer: Consumer;

  beforeAll(() => {
    consumer = new Consumer();
    consumer.install(packages);
    consumer.copy('one-request.ts');
    consumer.write('doors.ts', importing(packages));
    consumer.write('pure-doors.ts', importing(pure));
    consumer.write(
      'print-doors.mjs',
      `import { doors } from './built/doors.js';\nconsole.log(JSON.stringify(doors));`,
    );
    consumer.compile(['doors.ts', 'one-request.ts'], SETTINGS[0]!.settings, 'built');
  }, TIMEOUT_MS);

  afterAll(() => {
    consumer.remove();
  });

  describe.each(NODE_MAJORS)('on Node.js %i', (major) => {
    const run = (...args: readonly string[]): string => consumer.run(nodePath(major), ...args);

    test('it is that version', () => {
      expect(run('--version')).toMatch(new RegExp(`^v${major}\\.`));
    });

    test('every door opens', () => {
      const doors = JSON.parse(run('print-doors.mjs')) as Record<string, number>;
      expect(Object.keys(doors)).toEqual(packages.flatMap((each) => each.doors));
      expect(Object.values(doors).every((names) => names > 0)).toBe(true);
    });

    test('a program of TypeScript does its requests', () => {
      expect(run('built/one-request.js')).toBe('memory 1 512\nfile 1 512\n');
    });

    for (const { name, version, bin = {} } of packages) {
      test.each(Object.entries(bin))(`%s of ${name} tells its version`, (_, file) => {
        expect(run(join('node_modules', name, file), '--version')).toContain(version);
      });
    }

    test.each(packages.filter((each) => each.snippets.length > 0))(
      'what the README of $name shows works',
      ({ snippets }) => {
        for (const snippet of snippets) run(consumer.write('snippet.mjs', snippet));
      },
    );
  });

  describe.each(SETTINGS)('for $name', ({ name, settings }) => {
    test('a program compiles, and all declarations', () => {
      consumer.compile(['doors.ts', 'one-request.ts'], settings, name);
    });

    test('those that ask for no types of Node.js compile without', () => {
      expect(pure.map((each) => each.name)).toContain('@iothreads/core');
      consumer.compile(['pure-doors.ts'], { ...settings, types: [] }, `${name}, pure`);
    });
  });
});
