// Debian's i386 kernel in v86, with disks whose I/O runs in iothreads. It boots once; each subject works with copies of what has booted.
import { whyNoGuest } from '@iothreads/bench/v86-guest';
import { afterAll, beforeAll, describe } from 'vitest';
import { failingDisks } from './subjects/failing-disks.js';
import { fileSystems } from './subjects/file-systems.js';
import { machines } from './subjects/machines.js';
import { options } from './subjects/options.js';
import { snapshots } from './subjects/snapshots.js';
import { unbinding } from './subjects/unbinding.js';
import { Scene, TIMEOUT_MS } from './support/scene.js';

const why = whyNoGuest();
if (why !== undefined) process.stderr.write(`test/v86: skipped: ${why}\n`);

describe.skipIf(why !== undefined)('Linux in v86', { timeout: TIMEOUT_MS }, () => {
  let scene: Scene | undefined;
  beforeAll(async () => {
    scene = await Scene.boot();
  }, TIMEOUT_MS);
  afterAll(() => scene?.[Symbol.dispose]());

  const booted = (): Scene => scene!;
  describe('a machine', () => machines(booted));
  describe('file systems', () => fileSystems(booted));
  describe('a disk that has options', () => options(booted));
  describe('a disk that fails', () => failingDisks(booted));
  describe('unbinding the driver', () => unbinding(booted));
  describe('a snapshot', () => snapshots(booted));
});
