import { VhostUserFrontEnd } from '@iothreads/vhost-user/front-end';
import { once } from 'node:events';
import { existsSync, ftruncateSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { DaemonProcess } from './support/daemon-process.js';
import { childrenOf, isAlive } from './support/processes.js';
import { QmpClient } from './support/qmp-client.js';
import { Scratch } from './support/scratch.js';
import { until } from '../../../test/support/within.js';

const BLOCK = 4096;

interface SupervisionReport {
  readonly pid: number;
  readonly 'supervisor-pid'?: number;
  readonly restarts: number;
  readonly 'recent-restarts': readonly { readonly reason: string }[];
}

/** A supervised daemon that serves a file, at a socket and over QMP. */
const supervised = (scratch: Scratch, ...more: readonly string[]): string[] => {
  if (!existsSync(scratch.file('disk'))) writeFileSync(scratch.file('disk'), new Uint8Array(1 << 20));
  return [
    '--supervise',
    '--object=iothread,id=io0',
    `--chardev=socket,id=m,path=${scratch.file('qmp')},server=on,wait=off`,
    '--monitor=m',
    `--blockdev=file,node-name=n,filename=${scratch.file('disk')}`,
    `--export=vhost-user-blk,id=e,node-name=n,addr.type=unix,addr.path=${scratch.file('vhost')},writable=on,iothread=io0`,
    `--pidfile=${scratch.file('pid')}`,
    ...more,
  ];
};
const FILES = ['disk', 'pid', 'qmp', 'vhost'];

async function supervision(scratch: Scratch): Promise<SupervisionReport> {
  using qmp = await QmpClient.connect(scratch.file('qmp'));
  return (await qmp.execute('x-query-supervision')) as SupervisionReport;
}

/** Waits until a daemon serves that has been started again `restarts` times. */
async function restarted(
  scratch: Scratch,
  daemon: DaemonProcess,
  restarts: number,
): Promise<SupervisionReport> {
  await until(
    `restart ${restarts}`,
    () => daemon.stderr.split('ready: 1 export').length === restarts + 2,
    () => daemon.stderr,
  );
  return supervision(scratch);
}

test('killed five times it serves again each time, under one supervisor, with pauses that grow', async () => {
  using scratch = new Scratch();
  await using daemon = new DaemonProcess(supervised(scratch));
  await daemon.ready();
  const pids = new Set<number>();
  for (let kills = 0; ; kills++) {
    const report = await restarted(scratch, daemon, kills);
    pids.add(report.pid);
    expect(report).toMatchObject({ 'supervisor-pid': daemon.child.pid, restarts: kills });
    expect(report['recent-restarts'].map(({ reason }) => reason)).toEqual(Array(kills).fill('SIGKILL'));
    expect(readFileSync(scratch.file('pid'), 'utf8')).toBe(`${daemon.child.pid}\n`);
    const frontEnd = await VhostUserFrontEnd.connect(scratch.file('vhost'), { dataBytes: BLOCK });
    try {
      const queue = frontEnd.queues[0]!;
      // What was written before is there, and the image has no lock of the dead.
      if (kills > 0) expect((await queue.read(8, BLOCK))[0]).toBe(kills);
      await queue.write(8, new Uint8Array(BLOCK).fill(kills + 1));
    } finally {
      await frontEnd.close();
    }
    if (kills === 5) break;
    process.kill(report.pid, 'SIGKILL');
    await until('its end', () => !isAlive(report.pid));
  }
  expect(pids.size).toBe(6);
  await until('what stands by', () => childrenOf(daemon.child.pid!).length === 2);
  const children = childrenOf(daemon.child.pid!);
  const { code, stderr } = await daemon.stop();
  expect(code).toBe(0);
  expect(scratch.list()).toEqual(['disk']);
  expect([...children, ...pids].filter(isAlive)).toEqual([]);
  const pauses = [...stderr.matchAll(/: error: daemon \d+ has ended: SIGKILL; restart \d+ (.*)/g)];
  expect(pauses.map(([, when]) => when)).toEqual([
    'now',
    ...[50, 100, 200, 400].map((pauseMs) => `in ${pauseMs} ms`),
  ]);
});

const EXITING_DISK = `--blockdev=module,node-name=x,url=${fileURLToPath(new URL('fixtures/exiting-disk.mjs', import.meta.url))}`;

test('an exit with another status than 0 is a crash, too', async () => {
  using scratch = new Scratch();
  await using daemon = new DaemonProcess(supervised(scratch, EXITING_DISK));
  await daemon.ready();
  process.kill((await supervision(scratch)).pid, 'SIGUSR2');
  expect(await restarted(scratch, daemon, 1)).toMatchObject({ 'recent-restarts': [{ reason: 'status 3' }] });
  expect(await daemon.stop()).toMatchObject({ code: 0 });
});

test('quit is no crash', async () => {
  using scratch = new Scratch();
  await using daemon = new DaemonProcess(supervised(scratch));
  await daemon.ready();
  const children = childrenOf(daemon.child.pid!);
  using qmp = await QmpClient.connect(scratch.file('qmp'));
  expect(await qmp.execute('quit')).toEqual({});
  const { code, stderr } = await daemon.ended();
  expect({ code, stderr }).toEqual({ code: 0, stderr: 'iothreads-storage-daemon: info: ready: 1 export\n' });
  expect(scratch.list()).toEqual(['disk']);
  expect(children.filter(isAlive)).toEqual([]);
});

test('nor is it with another status than 0: that is the status of all', async () => {
  using scratch = new Scratch();
  await using daemon = new DaemonProcess(supervised(scratch, EXITING_DISK));
  await daemon.ready();
  process.kill((await supervision(scratch)).pid, 'SIGWINCH');
  using qmp = await QmpClient.connect(scratch.file('qmp'));
  await qmp.execute('quit');
  expect(await daemon.ended()).toMatchObject({ code: 7 });
});

test.each(['SIGINT', 'SIGHUP'] as const)('%s is passed on', async (signal) => {
  using scratch = new Scratch();
  await using daemon = new DaemonProcess(supervised(scratch));
  await daemon.ready();
  const { code, stderr } = await daemon.stop(signal);
  expect({ code, stderr }).toEqual({ code: 0, stderr: 'iothreads-storage-daemon: info: ready: 1 export\n' });
  expect(scratch.list()).toEqual(['disk']);
});

test('a mistake at start-up is told once, and ends it', async () => {
  using scratch = new Scratch();
  await using daemon = new DaemonProcess(supervised(scratch, '--blockdev=nope'));
  const { code, stderr } = await daemon.ended();
  expect(code).toBe(1);
  expect(stderr).toMatch(/^iothreads-storage-daemon: --blockdev=nope: [^\n]*\n$/);
  expect(scratch.list()).toEqual(['disk']);
});

test('a pidfile that can not be had ends it, and the daemon with it', async () => {
  using scratch = new Scratch();
  writeFileSync(scratch.file('pid'), `${process.pid}\n`);
  await using daemon = new DaemonProcess(supervised(scratch));
  const { code, stderr } = await daemon.ended();
  expect(code).toBe(1);
  expect(stderr).toMatch(
    `iothreads-storage-daemon: --pidfile ${scratch.file('pid')}: process ${process.pid} has it`,
  );
  expect(scratch.list()).toEqual(['disk', 'pid']);
});

test('a supervisor that is killed takes its daemon with it, and the next one starts', async () => {
  using scratch = new Scratch();
  await using killed = new DaemonProcess(supervised(scratch));
  await killed.ready();
  await until('what stands by', () => childrenOf(killed.child.pid!).length === 2);
  const children = childrenOf(killed.child.pid!);
  await killed.stop('SIGKILL');
  await until('the end of its children', () => !children.some(isAlive));
  expect(scratch.list()).toEqual(FILES);
  await using daemon = new DaemonProcess(supervised(scratch));
  await daemon.ready();
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  expect(scratch.list()).toEqual(['disk']);
});

test('what stands by can be ended without anybody noticing', async () => {
  using scratch = new Scratch();
  await using daemon = new DaemonProcess(supervised(scratch));
  await daemon.ready();
  await until('what stands by', () => childrenOf(daemon.child.pid!).length === 2);
  const { pid } = await supervision(scratch);
  const spare = childrenOf(daemon.child.pid!).find((each) => each !== pid)!;
  process.kill(spare, 'SIGKILL');
  await until('its end', () => !isAlive(spare));
  expect((await supervision(scratch)).pid).toBe(pid);
  process.kill(pid, 'SIGKILL');
  expect(await restarted(scratch, daemon, 1)).toMatchObject({ restarts: 1 });
  expect(await daemon.stop()).toMatchObject({ code: 0 });
});

test('--daemonize: the supervisor is what stays, and nobody holds the output', async () => {
  using scratch = new Scratch();
  await using parent = new DaemonProcess(supervised(scratch, '--daemonize'));
  const ended = await parent.ended();
  const supervisor = Number(readFileSync(scratch.file('pid'), 'utf8'));
  try {
    expect(ended).toEqual({ code: 0, signal: null, stdout: '', stderr: '' });
    const before = await supervision(scratch);
    expect(before).toMatchObject({ 'supervisor-pid': supervisor, restarts: 0 });
    process.kill(before.pid, 'SIGKILL');
    await until('its end', () => !isAlive(before.pid));
    await until('a restart', async () => {
      const report = await supervision(scratch).catch(() => undefined);
      return report?.restarts === 1;
    });
    process.kill(supervisor, 'SIGTERM');
    await until('the end', () => !isAlive(supervisor));
    expect(scratch.list()).toEqual(['disk']);
  } finally {
    if (isAlive(supervisor)) process.kill(supervisor, 'SIGKILL');
  }
});

test('an inherited socket outlives the crash: who connects meanwhile is served', async () => {
  using scratch = new Scratch();
  const path = scratch.file('inherited');
  const server = createServer().listen(path);
  await once(server, 'listening');
  // No door of Node.js leads to a server's descriptor.
  const { fd } = Reflect.get(server, '_handle') as { readonly fd: number };
  await using daemon = new DaemonProcess(
    [
      '--supervise',
      `--chardev=socket,id=m,path=${scratch.file('qmp')},server=on,wait=off`,
      '--monitor=m',
      '--blockdev=memory,node-name=n,size=1048576',
      '--export=vhost-user-blk,id=e,node-name=n,addr.type=fd,addr.str=3',
    ],
    { fds: [fd] },
  );
  await daemon.ready();
  // A server takes its path with it, but not another name.
  renameSync(path, scratch.file('vhost'));
  server.close();
  const { pid } = await supervision(scratch);
  process.kill(pid, 'SIGKILL');
  await until('its end', () => !isAlive(pid));
  const frontEnd = await VhostUserFrontEnd.connect(scratch.file('vhost'), { dataBytes: BLOCK });
  try {
    expect((await frontEnd.queues[0]!.read(0, BLOCK)).every((byte) => byte === 0)).toBe(true);
  } finally {
    await frontEnd.close();
  }
  expect(await restarted(scratch, daemon, 1)).toMatchObject({ restarts: 1 });
  expect(await daemon.stop()).toMatchObject({ code: 0 });
});

test('a front end that takes its memory away ends the daemon, and only for a moment', async () => {
  using scratch = new Scratch();
  await using daemon = new DaemonProcess(supervised(scratch));
  await daemon.ready();
  const frontEnd = await VhostUserFrontEnd.connect(scratch.file('vhost'), { dataBytes: BLOCK });
  await frontEnd.queues[0]!.write(8, new Uint8Array(BLOCK).fill(9));
  // From here on nobody may look into that memory, this process included.
  for (const { fd } of frontEnd.regions) ftruncateSync(fd, 0);
  frontEnd.queues[0]!.kick();
  const report = await restarted(scratch, daemon, 1);
  expect(report['recent-restarts']).toMatchObject([{ reason: 'SIGBUS' }]);
  await frontEnd.close();
  const next = await VhostUserFrontEnd.connect(scratch.file('vhost'), { dataBytes: BLOCK });
  expect((await next.queues[0]!.read(8, BLOCK)).every((byte) => byte === 9)).toBe(true);
  await next.close();
  expect(await daemon.stop()).toMatchObject({ code: 0 });
});

test('a monitor at standard input and output is greeted again', async () => {
  await using daemon = new DaemonProcess(['--supervise', '--chardev=stdio,id=m', '--monitor=m']);
  await daemon.ready();
  const ask = async (id: number): Promise<number> => {
    daemon.child.stdin!.write(
      `{"execute":"qmp_capabilities"}\n{"execute":"x-query-supervision","id":${id}}\n`,
    );
    await until('the answer', () => daemon.stdout.includes(`"id":${id}}`));
    const answer = daemon.stdout.split('\r\n').find((line) => line.endsWith(`"id":${id}}`))!;
    return (JSON.parse(answer) as { return: SupervisionReport }).return.pid;
  };
  const first = await ask(1);
  process.kill(first, 'SIGKILL');
  await until('the second greeting', () => daemon.stdout.split('{"QMP"').length === 3);
  expect(await ask(2)).not.toBe(first);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
});
