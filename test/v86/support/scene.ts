import { loadGuestKit } from '@iothreads/bench/v86-guest';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { program } from '../../guests/support/guest-kit.js';
import { createImage } from '../../guests/support/image.js';
import { BootedGuest } from './booted-guest.js';
import { codeReader } from './code-on-disk.js';
import { Machine, type MachineOptions } from './machine.js';

/** Against hangs only: a boot, and some scripts, each of which has a deadline of its own. */
export const TIMEOUT_MS = 400_000;

/** What all subjects share: a guest to be copied, and a directory for images. */
export class Scene implements Disposable {
  readonly guest: BootedGuest;
  readonly #directory = mkdtempSync(join(tmpdir(), 'iothreads-v86-'));

  private constructor(guest: BootedGuest) {
    this.guest = guest;
  }

  static async boot(): Promise<Scene> {
    return new Scene(await BootedGuest.boot(loadGuestKit(), { 'tmp/read-code': codeReader() }));
  }

  path(name: string): string {
    return join(this.#directory, name);
  }

  /** An image with an ext4 that is empty. @returns its path */
  ext4(name: string, sizeBytes: number): string {
    const image = createImage(this.path(name), sizeBytes);
    execFileSync(program('mke2fs'), ['-q', '-t', 'ext4', image]);
    return image;
  }

  machine(options: MachineOptions): Promise<Machine> {
    return Machine.create((guestOptions) => this.guest.copy(guestOptions), options);
  }

  [Symbol.dispose](): void {
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
