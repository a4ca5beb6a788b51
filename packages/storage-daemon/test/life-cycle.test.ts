import { once } from 'node:events';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { describe, expect, test } from 'vitest';
import { DaemonProcess } from './support/daemon-process.js';
import { isAlive } from './support/processes.js';
import { QmpClient } from './support/qmp-client.js';
import { Scratch } from './support/scratch.js';
import { until } from '../../../test/support/within.js';

/** A daemon with a bit of everything, in a directory. */
const everything = (scratch: Scratch): string[] => [
  '--chardev',
  `socket,id=m,path=${scratch.file('qmp')},server=on,wait=off`,
  '--monitor=m',
  '--object=iothread,id=io0',
  '--blockdev=memory,node-name=n,size=1048576',
  `--export=vhost-user-blk,id=e,node-name=n,addr.type=unix,addr.path=${scratch.file('vhost')},iothread=io0`,
  `--export=vhost-user-blk,id=f,node-name=n,addr.type=unix,addr.path=${scratch.file('vhost2')}`,
  '--pidfile',
  scratch.file('pid'),
];
const FILES = ['pid', 'qmp', 'vhost', 'vhost2'];

test('who asks before all options have taken effect is answered afterwards', async () => {
  using scratch = new Scratch();
  const socket = (id: string, wait: string): string[] => [
    `--chardev=socket,id=${id},path=${scratch.file(id)},server=on,wait=${wait}`,
    `--monitor=${id}`,
  ];
  await using daemon = new DaemonProcess([
    ...['a', 'b'].flatMap((id) => socket(id, 'off')),
    // What follows comes when this one has a client.
    ...socket('late', 'on'),
    '--blockdev=memory,node-name=n,size=1048576',
    `--export=vhost-user-blk,id=e,node-name=n,addr.type=unix,addr.path=${scratch.file('vhost')}`,
  ]);
  await until('the last socket', () => existsSync(scratch.file('late')));
  using asking = await QmpClient.connect(scratch.file('a'));
  using other = await QmpClient.connect(scratch.file('b'));
  const exports = asking.execute('query-block-exports');
  // Was sent later, and waits for nothing.
  await expect(other.execute('query-nothing')).rejects.toThrow('has not been found');
  using late = await QmpClient.open(scratch.file('late'));
  expect(await late.next()).toMatchObject({ QMP: {} });
  expect(await exports).toMatchObject([{ id: 'e' }]);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
});

describe('the end of a daemon', () => {
  test.each(['SIGTERM', 'SIGINT', 'SIGHUP'] as const)('%s: status 0, nothing left behind', async (signal) => {
    using scratch = new Scratch();
    await using daemon = new DaemonProcess(everything(scratch));
    await daemon.ready();
    expect(scratch.list()).toEqual(FILES);
    expect(readFileSync(scratch.file('pid'), 'utf8')).toBe(`${daemon.child.pid}\n`);
    const { code, stdout, stderr } = await daemon.stop(signal);
    expect({ code, stdout, stderr }).toEqual({
      code: 0,
      stdout: '',
      stderr: 'iothreads-storage-daemon: info: ready: 2 exports\n',
    });
    expect(scratch.list()).toEqual([]);
  });

  test('an image that comes after a socket gets its io_uring: the socket keeps no module from being found', async () => {
    using scratch = new Scratch();
    writeFileSync(scratch.file('disk.img'), new Uint8Array(1 << 20));
    const file = `--blockdev=file,node-name=d,filename=${scratch.file('disk.img')},aio=io_uring`;
    await using daemon = new DaemonProcess([...everything(scratch), file]);
    await daemon.ready();
    const { stderr } = await daemon.stop('SIGTERM');
    expect(stderr).toBe('iothreads-storage-daemon: info: ready: 2 exports\n');
  });

  test('quit: answered, status 0, nothing left behind', async () => {
    using scratch = new Scratch();
    await using daemon = new DaemonProcess(everything(scratch));
    await daemon.ready();
    using qmp = await QmpClient.connect(scratch.file('qmp'));
    expect(await qmp.execute('quit')).toEqual({});
    expect(await qmp.next()).toBeUndefined();
    expect(await daemon.ended()).toMatchObject({ code: 0 });
    expect(scratch.list()).toEqual([]);
  });

  test('a signal while it waits for its first client: status 0, nothing left behind', async () => {
    using scratch = new Scratch();
    await using daemon = new DaemonProcess([
      '--chardev',
      `socket,id=m,path=${scratch.file('qmp')},server=on`,
      '--pidfile',
      scratch.file('pid'),
    ]);
    await until('the socket', () => existsSync(scratch.file('qmp')));
    const { code, stderr } = await daemon.stop();
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(scratch.list()).toEqual([]);
  });

  test('not before it is asked for, though there is nothing to do', async () => {
    await using daemon = new DaemonProcess([]);
    await daemon.ready();
    daemon.child.stdin!.end();
    // Whatever keeps a process alive by accident is over by then.
    await new Promise((resolve) => {
      setTimeout(resolve, 100);
    });
    expect(daemon.child.exitCode).toBeNull();
    const { code, stderr } = await daemon.stop();
    expect({ code, stderr }).toEqual({
      code: 0,
      stderr: 'iothreads-storage-daemon: info: ready: 0 exports\n',
    });
  });

  test('a client that reads nothing does not hold it up', async () => {
    using scratch = new Scratch();
    await using daemon = new DaemonProcess(everything(scratch));
    await daemon.ready();
    using qmp = await QmpClient.connect(scratch.file('qmp'));
    qmp.socket.pause();
    qmp.send('{"execute":"query-commands"}'.repeat(5000));
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(scratch.list()).toEqual([]);
  });
});

describe('what an earlier life has left', () => {
  test('sockets that nobody listens at, and the pidfile of a process that is gone', async () => {
    using scratch = new Scratch();
    await using killed = new DaemonProcess(everything(scratch));
    await killed.ready();
    await killed.stop('SIGKILL');
    expect(scratch.list()).toEqual(FILES);
    await using daemon = new DaemonProcess(everything(scratch));
    await daemon.ready();
    expect(readFileSync(scratch.file('pid'), 'utf8')).toBe(`${daemon.child.pid}\n`);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(scratch.list()).toEqual([]);
  });

  test('a pidfile that somebody else has written since is not removed', async () => {
    using scratch = new Scratch();
    await using daemon = new DaemonProcess(everything(scratch));
    await daemon.ready();
    writeFileSync(scratch.file('pid'), '1\n');
    expect(await daemon.stop()).toMatchObject({ code: 0 });
    expect(scratch.list()).toEqual(['pid']);
  });
});

describe('--daemonize', () => {
  test('the parent leaves when all is ready, the daemon goes on', async () => {
    using scratch = new Scratch();
    await using parent = new DaemonProcess([...everything(scratch), '--daemonize']);
    // Its end is seen once nobody holds its output any more: the daemon has let go of it.
    expect(await parent.ended()).toEqual({ code: 0, signal: null, stdout: '', stderr: '' });
    expect(scratch.list()).toEqual(FILES);
    const pid = Number(readFileSync(scratch.file('pid'), 'utf8'));
    try {
      expect(pid).not.toBe(parent.child.pid);
      using qmp = await QmpClient.connect(scratch.file('qmp'));
      expect(await qmp.execute('query-block-exports')).toHaveLength(2);
      process.kill(pid, 'SIGTERM');
      await until('the end of the daemon', () => !isAlive(pid));
      expect(scratch.list()).toEqual([]);
    } finally {
      if (isAlive(pid)) process.kill(pid, 'SIGKILL');
    }
  });

  test("the daemon's mistake is the parent's", async () => {
    using scratch = new Scratch();
    await using parent = new DaemonProcess([...everything(scratch), '--daemonize', '--blockdev=nope']);
    const { code, stderr } = await parent.ended();
    expect(code).toBe(1);
    expect(stderr).toMatch(/^iothreads-storage-daemon: --blockdev=nope: [^\n]*\n$/);
    expect(scratch.list()).toEqual([]);
  });

  test('an inherited socket keeps its number', async () => {
    using scratch = new Scratch();
    const server = createServer().listen(scratch.file('inherited'));
    await once(server, 'listening');
    // No door of Node.js leads to a server's descriptor.
    const { fd } = Reflect.get(server, '_handle') as { readonly fd: number };
    const qmp = ['--chardev', `socket,id=m,path=${scratch.file('qmp')},server=on,wait=off`, '--monitor=m'];
    const node = '--blockdev=null-co,node-name=n';
    const serve = '--export=vhost-user-blk,id=e,node-name=n,addr.type=fd,addr.str=4';
    await using parent = new DaemonProcess(['--daemonize', ...qmp, node, serve], {
      fds: [fd, fd],
    });
    expect(await parent.ended()).toMatchObject({ code: 0, stderr: '' });
    server.close();
    using client = await QmpClient.connect(scratch.file('qmp'));
    expect(await client.execute('query-block-exports')).toHaveLength(1);
    expect(await client.execute('quit')).toEqual({});
    expect(await client.next()).toBeUndefined();
  });
});
