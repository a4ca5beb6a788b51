import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Where `scripts/install-node-versions.sh` installs them. */
const CACHE = new URL('../../../node_modules/.cache/node-versions/node_modules/', import.meta.url);

/** Those that the packages are used on: the oldest that is supported, and the long-term ones after it. */
export const NODE_MAJORS = [20, 22, 24] as const;

/** The executable of a version of Node.js. */
export const nodePath = (major: number): string => fileURLToPath(new URL(`node-${major}/bin/node`, CACHE));

/** Why the packages can't be used here, or undefined where they can. */
export function whyNoNode(): string | undefined {
  const absent = NODE_MAJORS.find((major) => !existsSync(nodePath(major)));
  return absent === undefined
    ? undefined
    : `there is no Node.js ${absent} to use them on; run scripts/install-node-versions.sh`;
}
