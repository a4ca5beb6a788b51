import { execFileSync, spawnSync } from 'node:child_process';
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GUEST_INIT } from './guest-init.js';

/** Where `scripts/install-guest-tools.sh` unpacks the kernel. */
const CACHE = fileURLToPath(new URL('../../../node_modules/.cache/guest/', import.meta.url));
const INSTALL = 'run scripts/install-guest-tools.sh';

/** What the host needs, and what is copied into the guest from it. */
const HOST_PROGRAMS = ['qemu-system-x86_64', 'cpio', 'e2fsck', 'debugfs', 'mke2fs', 'fio'];
const GUEST_PROGRAMS = ['busybox', 'mkfs.ext4', 'blkdiscard'];
/** With what they depend on, where they aren't built in. */
const GUEST_MODULES = ['virtio_pci', 'virtio_blk', 'ext4'];

/** Administrators' programs aren't on everybody's path. */
const SEARCHED = [...(process.env['PATH'] ?? '').split(':'), '/usr/sbin', '/sbin'];

/** What a guest boots from. */
export interface GuestKit {
  readonly kernel: string;
  /** A cpio archive; the kernel takes others behind it. */
  readonly initramfs: string;
}

function programPath(name: string): string | undefined {
  return SEARCHED.map((directory) => join(directory, name)).find((path) => existsSync(path));
}

/** The path of a program of the host's. @throws Error where it isn't installed */
export function program(name: string): string {
  const path = programPath(name);
  if (path === undefined) throw new Error(`${name} is not installed: ${INSTALL}`);
  return path;
}

/** The unpacked kernel package; a half unpacked one doesn't count. */
function kernelRoot(): string | undefined {
  if (!existsSync(CACHE)) return undefined;
  const name = readdirSync(CACHE).find((each) => existsSync(join(CACHE, each, 'complete')));
  return name === undefined ? undefined : join(CACHE, name);
}

/** Why no guest can be booted here, or undefined where one can. */
export function whyNoGuest(): string | undefined {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'the guests need Linux on x86-64';
  const absent = [...HOST_PROGRAMS, ...GUEST_PROGRAMS].find((name) => programPath(name) === undefined);
  if (absent !== undefined) return `${absent} is not installed; ${INSTALL}`;
  return kernelRoot() === undefined ? `there is no kernel for the guests; ${INSTALL}` : undefined;
}

/** The shared libraries of a program, its loader among them; none of a static one. */
function librariesOf(path: string): string[] {
  const { stdout } = spawnSync(program('ldd'), [path], { encoding: 'utf8' });
  return [...stdout.matchAll(/(?:=> |^\s+)(\/\S+) \(0x/gm)].map((match) => match[1]!);
}

/** Copies programs and their libraries below `root`: the programs into `bin`, the libraries to where they are looked for. */
function copyPrograms(names: readonly string[], root: string): void {
  mkdirSync(join(root, 'bin'), { recursive: true });
  for (const name of names) {
    const path = realpathSync(program(name));
    copyFileSync(path, join(root, 'bin', name));
    for (const library of librariesOf(path)) {
      mkdirSync(join(root, dirname(library)), { recursive: true });
      copyFileSync(realpathSync(library), join(root, library));
    }
  }
}

/** Copies modules and what they depend on, with the lists that modprobe reads. */
function copyModules(kernel: string, version: string, root: string): void {
  const from = join(kernel, 'lib/modules', version);
  const to = join(root, 'lib/modules', version);
  mkdirSync(to, { recursive: true });
  const wanted = new Set(GUEST_MODULES);
  for (const line of readFileSync(join(from, 'modules.dep'), 'utf8').split('\n')) {
    const [module = '', ...dependencies] = line.split(/:? /);
    const name = /([^/]+)\.ko\b/.exec(module)?.[1]?.replaceAll('-', '_');
    if (name === undefined || !wanted.has(name)) continue;
    for (const path of [module.replace(/:$/, ''), ...dependencies].filter((each) => each !== '')) {
      mkdirSync(join(to, dirname(path)), { recursive: true });
      copyFileSync(join(from, path), join(to, path));
    }
  }
  for (const list of ['modules.dep', 'modules.builtin']) copyFileSync(join(from, list), join(to, list));
}

/** Writes a directory as the kind of archive that the kernel unpacks. */
export function writeArchive(directory: string, archive: string): void {
  const names = ['.', ...readdirSync(directory, { recursive: true, encoding: 'utf8' })];
  execFileSync(program('cpio'), ['--create', '--quiet', '--format=newc', `--file=${archive}`], {
    cwd: directory,
    input: names.join('\n'),
  });
}

/** Builds what guests boot from, below `directory`. */
export function buildGuestKit(directory: string): GuestKit {
  const root = kernelRoot();
  if (root === undefined) throw new Error(`there is no kernel for the guests: ${INSTALL}`);
  const image = readdirSync(join(root, 'boot')).find((name) => name.startsWith('vmlinuz-'))!;
  const content = mkdtempSync(join(tmpdir(), 'iothreads-initramfs-'));
  try {
    for (const empty of ['dev', 'mnt', 'proc', 'sys', 'tmp']) mkdirSync(join(content, empty));
    copyPrograms(GUEST_PROGRAMS, content);
    copyModules(root, image.slice('vmlinuz-'.length), content);
    writeFileSync(join(content, 'init'), GUEST_INIT);
    chmodSync(join(content, 'init'), 0o755);
    const initramfs = join(directory, 'initramfs.cpio');
    writeArchive(content, initramfs);
    return { kernel: join(root, 'boot', image), initramfs };
  } finally {
    rmSync(content, { recursive: true, force: true });
  }
}

/** Makes an ext4 image with programs and their libraries, for those that are too large for an initramfs. */
export function buildProgramDisk(names: readonly string[], image: string): void {
  const content = mkdtempSync(join(tmpdir(), 'iothreads-programs-'));
  try {
    copyPrograms(names, content);
    execFileSync(program('mke2fs'), ['-q', '-t', 'ext4', '-O', '^has_journal', '-d', content, image, '256M']);
  } finally {
    rmSync(content, { recursive: true, force: true });
  }
}
