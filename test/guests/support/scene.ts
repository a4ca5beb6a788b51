import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe } from 'vitest';
import { type Served, socketOf, StorageDaemon } from './daemon.js';
import { buildGuestKit, type GuestKit, whyNoGuest } from './guest-kit.js';
import { bootGuest, type GuestOptions, type GuestResults } from './guest.js';

/** For a test or a hook: a few boots, each of which has a deadline of its own. */
export const TIMEOUT_MS = 300_000;

/** What the tests of one file share: a directory of their own, and what their guests boot from. */
export class Scene {
  readonly directory: string = mkdtempSync(join(tmpdir(), 'iothreads-guests-'));
  readonly kit: GuestKit = buildGuestKit(this.directory);

  path(name: string): string {
    return join(this.directory, name);
  }

  /** Where the daemon serves a disk. */
  socket(id: string): string {
    return socketOf(this.directory, id);
  }

  serve(served: Served): Promise<StorageDaemon> {
    return StorageDaemon.start(this.directory, served);
  }

  boot(options: GuestOptions): Promise<GuestResults> {
    return bootGuest(this.kit, options);
  }
}

/** A suite whose tests boot guests; it is skipped where that can't be done, and its name says why. */
export function describeGuests(name: string, body: (scene: () => Scene) => void): void {
  const why = whyNoGuest();
  const title = why === undefined ? name : `${name} (skipped: ${why})`;
  describe.skipIf(why !== undefined)(title, { timeout: TIMEOUT_MS }, () => {
    let scene: Scene | undefined;
    beforeAll(() => {
      scene = new Scene();
    });
    afterAll(() => {
      if (scene !== undefined) rmSync(scene.directory, { recursive: true, force: true });
    });
    body(() => scene!);
  });
}
