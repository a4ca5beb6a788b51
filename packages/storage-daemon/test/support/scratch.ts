import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A directory for the time of a test. */
export class Scratch implements Disposable {
  readonly path: string = mkdtempSync(join(tmpdir(), 'isd-'));

  file(name: string): string {
    return join(this.path, name);
  }

  /** What is in it. */
  list(): string[] {
    return readdirSync(this.path).sort();
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}
