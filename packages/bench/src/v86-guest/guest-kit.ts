import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { GUEST_INIT, GUEST_WORDS } from './guest-init.js';
import { readModules } from './kernel-modules.js';
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

/** What the guest loads; ext4 asks for its checksum by another name than the module's. */
const MODULES = ['virtio_pci', 'virtio_blk', 'crc32c_generic', 'ext4'];

/**
 * Reads what guests boot from.
 * @param modules further modules for the guest's kernel
 * @throws Error telling which script to run where it isn't there
 */
export function loadGuestKit(modules: readonly string[] = []): GuestKit {
  const why = whyNoGuest();
  if (why !== undefined) throw new Error(why);
  const boot = join(ROOT, 'boot');
  const kernel = readdirSync(boot).find((name) => name.startsWith('vmlinuz-'))!;
  const loaded = readModules(join(ROOT, 'lib/modules'), [...MODULES, ...modules]);
  const moduleFiles = [...loaded].map(([name, content]): [string, ArchiveEntry] => [
    `modules/${name}.ko`,
    content,
  ]);
  const directories = ['bin', 'dev', 'mnt', 'modules', 'proc', 'sys', 'tmp'];
  const initramfs = newcArchive([
    ...directories.map((path): [string, ArchiveEntry] => [path, 'directory']),
    ...moduleFiles,
    ['modules/order', Buffer.from(moduleFiles.map(([path]) => `/${path}\n`).join(''))],
    ['bin/busybox', readFileSync(join(ROOT, 'bin/busybox'))],
    ['init', Buffer.from(GUEST_INIT)],
    ['words', Buffer.from(GUEST_WORDS)],
  ]);
  return {
    bios: readBuffer(join(ROOT, 'usr/share/seabios/bios.bin')),
    kernel: readBuffer(join(boot, kernel)),
    initramfs,
  };
}
