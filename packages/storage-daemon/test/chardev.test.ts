import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { DaemonProcess } from './support/daemon-process.js';
import { QmpClient } from './support/qmp-client.js';
import { Scratch } from './support/scratch.js';
import { until, within } from '../../../test/support/within.js';

test('one client at a time: the next one waits', async () => {
  using scratch = new Scratch();
  const path = scratch.file('qmp');
  await using daemon = new DaemonProcess([
    '--chardev',
    `socket,id=m,path=${path},server=on,wait=off`,
    '--monitor=m',
  ]);
  await daemon.ready();
  using first = await QmpClient.connect(path);
  using second = await QmpClient.open(path);
  second.send('{"execute":"qmp_capabilities","id":2}');
  // Answered, while the one behind it hears nothing.
  let heard = 0;
  second.socket.on('data', () => heard++);
  for (let i = 0; i < 20; i++) await first.execute('query-version');
  expect(heard).toBe(0);
  first.socket.end();
  expect(await second.next()).toMatchObject({ QMP: {} });
  expect(await second.next()).toEqual({ return: {}, id: 2 });
  expect(await daemon.stop()).toMatchObject({ code: 0 });
});

test('a server that waits holds up what comes behind it', async () => {
  using scratch = new Scratch();
  const path = scratch.file('qmp');
  await using daemon = new DaemonProcess([
    '--chardev',
    `socket,id=m,path=${path},server=on`,
    '--monitor=m,pretty=on',
    '--chardev',
    `socket,id=second,path=${scratch.file('second')},server=on,wait=off`,
  ]);
  await until('the socket', () => existsSync(path));
  expect(daemon.stderr).toBe('');
  expect(scratch.list()).toEqual(['qmp']);
  // It is there a moment before somebody listens.
  let opened: QmpClient | undefined;
  await until('a connection', async () => {
    opened = await QmpClient.open(path).catch(() => undefined);
    return opened !== undefined;
  });
  using client = opened!;
  client.socket.removeAllListeners('data');
  const [greeting] = await within(once(client.socket, 'data') as Promise<[Buffer]>, 'the greeting');
  expect(greeting.toString()).toMatch(/^\{\n {4}"QMP": \{\n/);
  await daemon.ready();
  expect(await daemon.stop()).toMatchObject({ code: 0 });
  expect(scratch.list()).toEqual([]);
});

test('a client of somebody who listens', async () => {
  using scratch = new Scratch();
  const path = scratch.file('management');
  const server = createServer().listen(path);
  await once(server, 'listening');
  const connected = once(server, 'connection') as Promise<[Socket]>;
  await using daemon = new DaemonProcess(['--chardev', `socket,id=m,path=${path}`, '--monitor=m']);
  const [socket] = await within(connected, 'the connection');
  using qmp = new QmpClient(socket);
  expect(await qmp.next()).toMatchObject({ QMP: {} });
  await qmp.execute('qmp_capabilities');
  expect(await qmp.execute('query-chardev')).toEqual([
    { label: 'm', filename: `unix:${path}`, 'frontend-open': true },
  ]);
  expect(await qmp.execute('quit')).toEqual({});
  expect(await daemon.ended()).toMatchObject({ code: 0 });
  server.close();
});

test('standard input and output', async () => {
  await using daemon = new DaemonProcess(['--chardev', 'stdio,id=m', '--monitor', 'm']);
  daemon.child.stdin!.write('{"execute":"qmp_capabilities"}\n{"execute":"query-chardev"}\n');
  await until('two answers', () => daemon.stdout.split('\r\n').length > 3);
  expect(
    daemon.stdout.split('\r\n').map((line) => (line === '' ? '' : (JSON.parse(line) as unknown))),
  ).toMatchObject([
    { QMP: {} },
    { return: {} },
    { return: [{ label: 'm', filename: 'stdio', 'frontend-open': true }] },
    '',
  ]);
  // The end of its input is none of the daemon's.
  daemon.child.stdin!.end();
  await daemon.ready();
  expect(await daemon.stop()).toMatchObject({ code: 0 });
});

test('character devices come and go', async () => {
  using scratch = new Scratch();
  const path = scratch.file('qmp');
  await using daemon = new DaemonProcess([
    '--chardev',
    `socket,id=m,path=${path},server=on,wait=off`,
    '--monitor=m',
  ]);
  await daemon.ready();
  using qmp = await QmpClient.connect(path);
  const backend = { type: 'socket', data: { addr: { type: 'unix', data: { path: scratch.file('c') } } } };
  expect(await qmp.execute('chardev-add', { id: 'c', backend })).toEqual({});
  expect(await qmp.execute('query-chardev')).toContainEqual({
    label: 'c',
    filename: `disconnected:unix:${scratch.file('c')},server=on`,
    'frontend-open': false,
  });
  await expect(qmp.execute('chardev-add', { id: 'c', backend })).rejects.toThrow("'c' already exists");
  await expect(qmp.execute('chardev-add', { id: 'd', backend })).rejects.toThrow(
    'is in use by another process',
  );
  expect(scratch.list()).toEqual(['c', 'qmp']);
  await expect(qmp.execute('chardev-remove', { id: 'm' })).rejects.toThrow("Chardev 'm' is busy");
  expect(await qmp.execute('chardev-remove', { id: 'c' })).toEqual({});
  await expect(qmp.execute('chardev-remove', { id: 'c' })).rejects.toThrow("Chardev 'c' not found");
  expect(scratch.list()).toEqual(['qmp']);
  expect(await daemon.stop()).toMatchObject({ code: 0 });
});
