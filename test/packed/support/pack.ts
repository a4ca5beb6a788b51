import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { PublishedPackage } from './published-packages.js';

const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
/** That of the workspace: it knows what `workspace:*` stands for. */
const PNPM = 'pnpm@12.21.0';

/** Packs packages as they would be published. @returns the path of each tarball in `directory`, by the package's name */
export function pack(packages: readonly PublishedPackage[], directory: string): Map<string, string> {
  const filters = packages.flatMap(({ name }) => ['--filter', name]);
  const command = ['--recursive', ...filters, 'pack', '--pack-destination', directory];
  execFileSync('npx', ['--yes', PNPM, ...command], { cwd: ROOT, stdio: 'pipe' });
  return new Map(
    packages.map(({ name, version }) => {
      const file = `${name.replace('@', '').replace('/', '-')}-${version}.tgz`;
      return [name, join(directory, file)];
    }),
  );
}
