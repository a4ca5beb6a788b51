// Runs a script of the workspace, or none, with the options that Node.js has here; installs and builds first where that is needed.
// Plain JavaScript without dependencies: on a fresh clone there is nothing else yet.
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const PNPM = 'pnpm@12.21.0';
/** Remembers what was installed: quicker than asking a package manager. */
const stamp = join(root, 'node_modules', '.iothreads-installed');

/** Runs a command quietly; what it printed is shown only when it fails. */
function quietly(what, command, args) {
  const { status, error, stdout, stderr } = spawnSync(command, args, { cwd: root, encoding: 'utf8' });
  if (status === 0) return;
  process.stderr.write(
    `${what} failed: ${command} ${args.join(' ')}\n${error?.message ?? ''}${stdout}${stderr}`,
  );
  process.exit(1);
}

function install() {
  const wanted = createHash('sha256');
  for (const file of ['pnpm-lock.yaml', 'pnpm-workspace.yaml']) wanted.update(readFileSync(join(root, file)));
  const hash = `${wanted.digest('hex')} ${process.version}`;
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === hash) return;
  if (process.stderr.isTTY) process.stderr.write('Installing what the workspace needs …\n');
  quietly('Installing', 'npx', ['--yes', PNPM, 'install', '--frozen-lockfile']);
  writeFileSync(stamp, hash);
}

function build() {
  quietly('Building', process.execPath, [join(root, 'node_modules', 'typescript', 'bin', 'tsc'), '-b']);
}

install();
build();
const [script, ...args] = process.argv.slice(2);
if (script === undefined) process.exit(0);
const { status, signal } = spawnSync(process.execPath, [...process.execArgv, join(root, script), ...args], {
  cwd: root,
  stdio: 'inherit',
});
process.exitCode = signal === null ? status : 1;
