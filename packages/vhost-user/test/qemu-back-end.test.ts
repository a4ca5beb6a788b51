// The front end drives QEMU's own daemon: what it says is the protocol as others speak it.
import { ProtocolFeature, VhostUserFrontEnd } from '@iothreads/vhost-user/front-end';
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { expectBytes, pattern } from './support/pattern.js';
import { until } from '../../../test/support/within.js';

const PROGRAM = 'qemu-storage-daemon';
const missing = spawnSync(PROGRAM, ['--version']).status !== 0;
if (missing) process.stderr.write(`skipped: ${PROGRAM} is not installed (Debian: qemu-system-common)\n`);

describe.skipIf(missing)("QEMU's back end", () => {
  let directory: string;
  let path: string;
  let daemon: ChildProcess;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), 'vhost-user-qemu-'));
    path = join(directory, 'disk.sock');
    const image = join(directory, 'disk.img');
    writeFileSync(image, new Uint8Array(4 << 20));
    daemon = spawn(
      PROGRAM,
      [
        '--blockdev',
        `driver=file,filename=${image},node-name=disk`,
        '--export',
        `type=vhost-user-blk,id=disk,node-name=disk,addr.type=unix,addr.path=${path},writable=on,num-queues=2`,
        // Written when it listens; the socket is there before that.
        '--pidfile',
        join(directory, 'pid'),
      ],
      { stdio: ['ignore', 'ignore', 'inherit'] },
    );
    await until('pidfile', () => existsSync(join(directory, 'pid')));
  });

  afterAll(async () => {
    daemon.kill();
    if (daemon.exitCode === null && daemon.signalCode === null) await once(daemon, 'exit');
    rmSync(directory, { recursive: true });
  });

  test.each([
    ['a table', {}],
    ['slots', { memorySlots: true }],
    [
      'two regions',
      {
        regions: [
          { guestAddress: 0, size: 8 << 20 },
          { guestAddress: 2 ** 32, size: 8 << 20 },
        ],
      },
    ],
    ['no acknowledgements', { protocolFeatures: ~(1n << BigInt(ProtocolFeature.REPLY_ACK)) }],
    ['no event indexes', { features: ~(1n << 29n) }],
  ])('is driven: %s', async (_, options) => {
    const frontEnd = await VhostUserFrontEnd.connect(path, { ...options, numQueues: 2 });
    try {
      expect(frontEnd.maxQueues).toBe(2);
      expect(await frontEnd.capacitySectors()).toBe(8192);
      const [a, b] = frontEnd.queues;
      await Promise.all(Array.from({ length: 50 }, (__, i) => a!.write(i * 8, pattern(4096, i))));
      await a!.flush();
      for (let i = 0; i < 50; i++) expectBytes(await b!.read(i * 8, 4096), pattern(4096, i));
      await b!.writeZeroes(0, 4096);
      await b!.discard(8, 4096);
      expectBytes(await a!.read(0, 4096), new Uint8Array(4096));
      expect(await a!.getId()).toBe('vhost_user_blk');
      const base = await frontEnd.getVringBase(0);
      await frontEnd.startQueue(0, base);
      expectBytes(await a!.read(16, 4096), pattern(4096, 2));
      await expect(a!.read(8192, 512)).rejects.toMatchObject({ code: 'ERR_REQUEST_FAILED' });
    } finally {
      await frontEnd.close();
    }
  });

  test('has fewer queues than are asked for', async () => {
    await expect(VhostUserFrontEnd.connect(path, { numQueues: 3 })).rejects.toThrow(
      'the back end has 2 queues: add num-queues=3 to its export',
    );
  });
});

test('nobody listens there', async () => {
  await expect(VhostUserFrontEnd.connect('/nowhere/disk.sock')).rejects.toMatchObject({ code: 'ENOENT' });
});
