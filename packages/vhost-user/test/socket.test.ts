// Where an export listens, and what it says when it can't.
import { closeFd, connectUnix, createEventfd, listenUnix } from '@iothreads/linux';
import { VhostUserError } from '@iothreads/vhost-user';
import { VhostUserFrontEnd } from '@iothreads/vhost-user/front-end';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, lstatSync, mkdirSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { closeRigs, ExportRig } from './support/export-rig.js';
import { openFds } from './support/open-fds.js';

let rig: ExportRig;
let other: string;

beforeEach(async () => {
  rig = await ExportRig.start();
  other = join(rig.directory, 'other.sock');
});

afterEach(closeRigs);

const unix = (path: string) => ({ id: 'other', address: { type: 'unix', path } }) as const;

async function expectRefused(path: string, code: string, ...says: string[]): Promise<void> {
  const fds = openFds();
  const error = await rig.export(unix(path)).then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(VhostUserError);
  expect(error).toMatchObject({ code });
  for (const text of [path, ...says]) expect((error as Error).message).toContain(text);
  expect((error as Error).message).not.toContain('\n');
  // Nothing is left of the attempt.
  expect(openFds()).toBe(fds);
  expect((await rig.runtime.queryBlockStats()).map(({ id }) => id)).toEqual(['disk']);
}

test('the path is a socket while the export lives, and gone afterwards', async () => {
  expect(lstatSync(rig.path).isSocket()).toBe(true);
  await rig.server.close();
  expect(existsSync(rig.path)).toBe(false);
});

describe('refused', () => {
  test('a path where a live server listens', async () => {
    await expectRefused(rig.path, 'ERR_SOCKET_IN_USE', 'is in use by another process');
    // It is not disturbed.
    const frontEnd = await rig.connect();
    expect(await frontEnd.queues[0]!.read(0, 512)).toHaveLength(512);
  });

  test('a path where a live server listens whose backlog is full', async () => {
    const listening = listenUnix(other, { backlog: 0 });
    const waiting: number[] = [];
    try {
      expect(() => {
        for (let i = 0; i < 100; i++) waiting.push(connectUnix(other));
      }).toThrow('EAGAIN');
      await expectRefused(other, 'ERR_SOCKET_IN_USE');
    } finally {
      for (const fd of [...waiting, listening]) closeFd(fd);
    }
  });

  test('a path that is a file, and the file stays', async () => {
    writeFileSync(other, 'precious');
    await expectRefused(other, 'ERR_NOT_A_SOCKET', 'is no socket: remove it');
    expect(existsSync(other)).toBe(true);
  });

  test('a path that is a directory', async () => {
    mkdirSync(other);
    await expectRefused(other, 'ERR_NOT_A_SOCKET');
  });

  test('a path that is too long', async () => {
    const long = join(rig.directory, 'x'.repeat(108));
    await expectRefused(long, 'ERR_SOCKET_PATH', 'more than 107: use a shorter one');
  });

  test('an empty path', async () => {
    await expectRefused('', 'ERR_SOCKET_PATH', 'is empty');
  });

  test('a directory that does not exist', async () => {
    await expectRefused(join(rig.directory, 'nowhere', 'a.sock'), 'ENOENT', 'create its directory first');
  });

  test('a descriptor that is no listening socket', async () => {
    const fd = createEventfd();
    const attempt = rig.export({ id: 'other', address: { type: 'fd', fd } });
    await expect(attempt).rejects.toMatchObject({ code: 'ERR_NOT_A_SOCKET' });
    await expect(attempt).rejects.toThrow(`file descriptor ${fd} is not a listening Unix socket`);
    closeFd(fd);
    await expect(rig.export({ id: 'other', address: { type: 'fd', fd: 9999 } })).rejects.toThrow('9999');
  });
});

test('a socket that nobody listens on any more is replaced', async () => {
  closeFd(listenUnix(other));
  expect(lstatSync(other).isSocket()).toBe(true);
  const server = await rig.export(unix(other));
  const frontEnd = await VhostUserFrontEnd.connect(other);
  expect(await frontEnd.queues[0]!.read(0, 512)).toHaveLength(512);
  await frontEnd.close();
  await server.close();
});

test('the socket of a killed process is replaced', async () => {
  const script = `require('node:net').createServer().listen(${JSON.stringify(other)}, () => console.log('listens'))`;
  const child = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  await expectRefused(other, 'ERR_SOCKET_IN_USE');
  child.kill('SIGKILL');
  await once(child, 'exit');
  await (await rig.export(unix(other))).close();
});

test('a path that has become another server’s is left to it', async () => {
  const server = await rig.export(unix(other));
  unlinkSync(other);
  const theirs = listenUnix(other);
  await server.close();
  expect(existsSync(other)).toBe(true);
  closeFd(theirs);
});

test('an inherited socket is served, and its path is left alone', async () => {
  const fd = listenUnix(other);
  const server = await rig.export({ id: 'other', address: { type: 'fd', fd } });
  const frontEnd = await VhostUserFrontEnd.connect(other);
  expect(await frontEnd.queues[0]!.read(0, 512)).toHaveLength(512);
  await frontEnd.close();
  await server.close();
  expect(lstatSync(other).isSocket()).toBe(true);
  await expect(VhostUserFrontEnd.connect(other)).rejects.toMatchObject({ code: 'ECONNREFUSED' });
});
