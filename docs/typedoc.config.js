// What the reference is made of: the doors of every package that is published, found in its package.json.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const packages = new URL('../packages/', import.meta.url);

/** A package for others, with something to import; the command line has a README instead. */
function hasDoors(name) {
  const { private: isPrivate, exports } = JSON.parse(
    readFileSync(new URL(`${name}/package.json`, packages), 'utf8'),
  );
  return isPrivate !== true && exports !== undefined;
}

/** @type {import('typedoc').TypeDocOptions} */
export default {
  name: 'iothreads',
  entryPointStrategy: 'packages',
  entryPoints: readdirSync(packages)
    .filter(hasDoors)
    .map((name) => fileURLToPath(new URL(name, packages))),
  packageOptions: {
    excludeInternal: true,
    excludePrivate: true,
    excludeProtected: true,
    excludeExternals: true,
    validation: { notDocumented: true, invalidLink: true, notExported: true },
    requiredToBeDocumented: [
      'Class',
      'Interface',
      'Function',
      'Method',
      'TypeAlias',
      'Enum',
      'Variable',
      'Accessor',
      'Property',
    ],
  },
  readme: '../README.md',
  out: '../out/api',
  treatWarningsAsErrors: true,
};
