import { readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';

/** The kernel takes either for the other; its lists mix them. */
const plain = (name: string): string => name.replaceAll('-', '_');

/** What a module says that it needs, in its section of `name=value` strings. */
function dependenciesOf(content: Buffer): string[] {
  const at = content.indexOf('\0depends=') + '\0depends='.length;
  const depends = content.toString('latin1', at, content.indexOf(0, at));
  return depends.split(',').filter((name) => name !== '');
}

/**
 * Reads modules and what they depend on from where a kernel's package has them.
 * @returns their contents by name, in the order to load them in
 * @throws Error naming a module that isn't there
 */
export function readModules(directory: string, names: readonly string[]): Map<string, Buffer> {
  const paths = new Map<string, string>();
  for (const path of readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
    if (path.endsWith('.ko')) paths.set(plain(basename(path, '.ko')), join(directory, path));
  }
  const modules = new Map<string, Buffer>();
  const add = (name: string): void => {
    if (modules.has(plain(name))) return;
    const path = paths.get(plain(name));
    if (path === undefined) throw new Error(`the guest's kernel has no module ${name}`);
    const content = readFileSync(path);
    dependenciesOf(content).forEach(add);
    modules.set(plain(name), content);
  };
  names.forEach(add);
  return modules;
}
