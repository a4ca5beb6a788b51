import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const PACKAGES = fileURLToPath(new URL('../../../packages/', import.meta.url));

/** What a package.json says, as far as these tests ask. */
interface Manifest {
  readonly name: string;
  readonly version: string;
  readonly private?: boolean;
  readonly exports?: Readonly<Record<string, unknown>>;
  readonly bin?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
}

/** A package that is meant for users. */
export interface PublishedPackage extends Manifest {
  /** What is imported from it, by full name: `@iothreads/core`, `@iothreads/core/testing`, … */
  readonly doors: readonly string[];
  /** The JavaScript in its README. */
  readonly snippets: readonly string[];
}

/** Every package of the workspace that is not private. */
export function publishedPackages(): PublishedPackage[] {
  return readdirSync(PACKAGES, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map(({ name }) => {
      const manifest = JSON.parse(readFileSync(join(PACKAGES, name, 'package.json'), 'utf8')) as Manifest;
      const subpaths = Object.keys(manifest.exports ?? {}).filter((subpath) => !subpath.endsWith('.json'));
      const doors = subpaths.map((subpath) => manifest.name + subpath.slice(1));
      const readme = join(PACKAGES, name, 'README.md');
      const text = existsSync(readme) ? readFileSync(readme, 'utf8') : '';
      const snippets = [...text.matchAll(/^```js\n([^]*?)^```/gm)].map(([, snippet]) => snippet!);
      return { ...manifest, doors, snippets };
    })
    .filter((each) => each.private !== true);
}
