import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GUEST_INIT, GUEST_MODULES, GUEST_WORDS } from './guest-init.js';
import { type ArchiveEntry, newcArchive } from './newc-archive.js';

/** Where the script below unpacks Debian's packages. */
const CACHE = fileURLToPath(new URL('../../../../node_modules/.cache/v86-guest/', import.meta.url));
const ROOT = join(CACHE, 'root');

/** What a guest boots from. */
export interface GuestKit {
  readonly bios: ArrayBuffer;
  readonly kernel: ArrayBuffer;
  /** A cpio archive; the kernel takes others behind it. */
  readonly initramfs: Buffer;
}

/** Why no guest can be booted here, or undefined where one can. */
export function whyNoGuest(): string | undefined {
  if (existsSync(join(CACHE, 'complete'))) return undefined;
  return "there is no guest for v86: run scripts/install-v86-guest.sh, which fetches Debian's i386 kernel";
}

/** A file as memory of its own. */
function readBuffer(path: string): ArrayBuffer {
  return new Uint8Array(readFileSync(path)).buffer;
}

/** The modules that the guest loads, wherever the kernel's package has them. */
function* modules(): Generator<[string, Uint8Array]> {
  const directory = join(ROOT, 'lib/modules');
  const found = new Map<string, string>();
  for (const path of readdirSync(directory, { recursive: true, encoding: 'utf8' })) {
    if (path.endsWith('.ko')) found.set(basename(path, '.ko').replaceAll('-', '_'), join(directory, path));
  }
  for (const name of GUEST_MODULES) {
    const path = found.get(name);
    if (path === undefined) throw new Error(`the guest's kernel has no module ${name}`);
    yield [`modules/${name}.ko`, readFileSync(path)];
  }
}

/** Reads what guests boot from. @throws Error telling which script to run where it isn't there */
export function loadGuestKit(): GuestKit {
  const why = whyNoGuest();
  if (why !== undefined) throw new Error(why);
  const boot = join(ROOT, 'boot');
  const kernel = readdirSync(boot).find((name) => name.startsWith('vmlinuz-'))!;
  const directories = ['bin', 'dev', 'mnt', 'modules', 'proc', 'sys', 'tmp'];
  const initramfs = newcArchive([
    ...directories.map((path): [string, ArchiveEntry] => [path, 'directory']),
    ['bin/busybox', readFileSync(join(ROOT, 'bin/busybox'))],
    ['init', Buffer.from(GUEST_INIT)],
    ['words', Buffer.from(GUEST_WORDS)],
    ...modules(),
  ]);
  return { bios: readBuffer(join(ROOT, 'usr/share/seabios/bios.bin')), kernel: readBuffer(join(boot, kernel)), initramfs };
}
