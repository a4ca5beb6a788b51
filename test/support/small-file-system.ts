import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const mount = (...args: readonly string[]): boolean => spawnSync('mount', args).status === 0;

/** A file system that really gets full; only where mounting is allowed. */
export class SmallFileSystem implements Disposable {
  readonly path: string;

  private constructor(path: string) {
    this.path = path;
  }

  /** @returns undefined where it can't be had: not on this system, or not for this user */
  static mount(sizeBytes: number): SmallFileSystem | undefined {
    if (process.platform !== 'linux') return undefined;
    const path = mkdtempSync(join(tmpdir(), 'iothreads-small-'));
    if (mount('-t', 'tmpfs', '-o', `size=${sizeBytes}`, 'none', path)) return new SmallFileSystem(path);
    rmSync(path, { recursive: true });
    return undefined;
  }

  file(name: string): string {
    return join(this.path, name);
  }

  /** Makes room, or takes it away. */
  resize(sizeBytes: number): void {
    if (!mount('-o', `remount,size=${sizeBytes}`, this.path)) throw new Error(`${this.path} keeps its size`);
  }

  [Symbol.dispose](): void {
    // Lazily: whatever is still open there goes with the last who has it open.
    spawnSync('umount', ['-l', this.path]);
    rmSync(this.path, { recursive: true, force: true });
  }
}
