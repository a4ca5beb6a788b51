// What the API reference is made of: the doors of every package that is published, as its package.json names them.
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const packages = new URL('../packages/', import.meta.url);

/** A package for others that has something to import; the command line has a README instead. */
function hasDoors(name) {
  const manifest = JSON.parse(readFileSync(new URL(`${name}/package.json`, packages), 'utf8'));
  const subpaths = Object.keys(manifest.exports ?? {}).filter((subpath) => !subpath.endsWith('.json'));
  return manifest.private !== true && subpaths.length > 0;
}

/** @type {import('typedoc').TypeDocOptions} */
export default {
  name: 'iothreads',
  entryPointStrategy: 'packages',
  entryPoints: readdirSync(packages)
    .filter(hasDoors)
    .map((name) => fileURLToPath(new URL(name, packages))),
  readme: 'index.md',
  projectDocuments: ['../ARCHITECTURE.md'],
  // No folder for what all names begin with.
  navigation: { includeFolders: false },
  out: '../out/api',
  treatWarningsAsErrors: true,
  logLevel: 'Warn',
  validation: { invalidLink: true, invalidPath: true, notExported: true },
  packageOptions: {
    // There is no place on the net to link them to; the sources are in each package.
    disableSources: true,
    excludeInternal: true,
    excludePrivate: true,
    excludeProtected: true,
    // What a class has of Node.js's EventEmitter is told there.
    excludeExternals: true,
    validation: { notDocumented: true },
    // A setter is told of at its getter, a property by its name and type unless there is more to say.
    requiredToBeDocumented: ['Class', 'Interface', 'Enum', 'TypeAlias', 'Function', 'Method', 'GetSignature'],
  },
};
