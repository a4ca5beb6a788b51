// What QMP clients can make grow, up to its end. The table of all limits is docs/limits.md.
import { PassThrough, Writable } from 'node:stream';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { describe, expect, test } from 'vitest';
import { BlockGraph, MAX_NODES } from '../dist/block-graph.js';
import { Chardevs, MAX_CHARDEVS } from '../dist/chardev/chardevs.js';
import { MAX_WAITING } from '../dist/chardev/client-line.js';
import { MAX_EXPORTS } from '../dist/exports.js';
import { Log, MAX_LINE_LENGTH } from '../dist/log.js';
import { MAX_ID_LENGTH } from '../dist/options/scalars.js';
import { MAX_UNREAD, QmpSession } from '../dist/qmp/qmp-session.js';
import { StorageDaemon } from '../dist/storage-daemon.js';
import { Supervision } from '../dist/supervise/supervision.js';
import { DaemonProcess } from './support/daemon-process.js';
import { QmpClient } from './support/qmp-client.js';
import { Scratch } from './support/scratch.js';
import { until } from '../../../test/support/within.js';

const quiet = (): Log => new Log(() => undefined);

describe('as many as there can be, and one more', () => {
  test('nodes', async () => {
    const graph = new BlockGraph(quiet());
    const add = (i: number) => graph.add({ driver: 'null-co', 'node-name': `n${i}` });
    for (let i = 0; i < MAX_NODES; i++) await add(i);
    await expect(add(MAX_NODES)).rejects.toMatchObject({
      code: 'ERR_LIMIT',
      message: `there are ${MAX_NODES} nodes already, more are not possible: remove one`,
    });
    await graph.delete('n0');
    await add(MAX_NODES);
    await graph.close();
  });

  test('nodes that stand on each other are gone through to their end', async () => {
    using scratch = new Scratch();
    await using daemon = new DaemonProcess([
      `--chardev=socket,id=m,path=${scratch.file('qmp')},server=on,wait=off`,
      '--monitor=m',
      '--blockdev=null-co,node-name=n0',
    ]);
    await daemon.ready();
    using qmp = await QmpClient.connect(scratch.file('qmp'));
    for (let i = 1; i < MAX_NODES; i++) {
      qmp.send(
        `{"execute":"blockdev-add","arguments":{"driver":"raw","node-name":"n${i}","file":"n${i - 1}"}}`,
      );
    }
    for (let i = 1; i < MAX_NODES; i++) expect(await qmp.next()).toEqual({ return: {} });
    expect(await qmp.execute('query-named-block-nodes')).toHaveLength(MAX_NODES);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });

  test('exports', async () => {
    using scratch = new Scratch();
    const daemon = new StorageDaemon(quiet(), new Supervision(), { stdioAllowed: false });
    const add = (i: number) =>
      daemon.exports.add({
        type: 'vhost-user-blk',
        id: `e${i}`,
        'node-name': 'n',
        addr: { type: 'unix', path: scratch.file(String(i)) },
        'num-queues': 1,
      });
    await daemon.graph.add({ driver: 'null-co', 'node-name': 'n' });
    for (let i = 0; i < MAX_EXPORTS; i++) await add(i);
    await expect(add(MAX_EXPORTS)).rejects.toMatchObject({ code: 'ERR_LIMIT' });
    expect(await daemon.close()).toBe(true);
    expect(scratch.list()).toEqual([]);
  });

  test('character devices', async () => {
    using scratch = new Scratch();
    const chardevs = new Chardevs({
      stopping: new AbortController().signal,
      mayWait: () => false,
      stdioAllowed: false,
    });
    const add = (i: number) =>
      chardevs.add({ backend: 'socket', id: `c${i}`, path: scratch.file(String(i)), server: true });
    for (let i = 0; i < MAX_CHARDEVS; i++) await add(i);
    await expect(add(MAX_CHARDEVS)).rejects.toMatchObject({ code: 'ERR_LIMIT' });
    await chardevs.close();
    expect(scratch.list()).toEqual([]);
  });

  test('clients in line', async () => {
    using scratch = new Scratch();
    const path = scratch.file('qmp');
    await using daemon = new DaemonProcess([
      `--chardev=socket,id=m,path=${path},server=on,wait=off`,
      '--monitor=m',
    ]);
    await daemon.ready();
    using served = await QmpClient.connect(path);
    const waiting: Socket[] = [];
    let closed = 0;
    for (let i = 0; i < MAX_WAITING + 5; i++) {
      const socket = connect(path);
      socket.on('error', () => undefined);
      socket.on('close', () => closed++);
      socket.resume();
      await once(socket, 'connect');
      waiting.push(socket);
    }
    await until('those beyond to be sent away', () => closed === 5);
    expect(await served.execute('query-version')).toBeDefined();
    expect(closed).toBe(5);
    for (const socket of waiting) socket.destroy();
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });

  test('characters of an id', async () => {
    using scratch = new Scratch();
    await using daemon = new DaemonProcess([
      `--chardev=socket,id=m,path=${scratch.file('qmp')},server=on,wait=off`,
      '--monitor=m',
    ]);
    await daemon.ready();
    using qmp = await QmpClient.connect(scratch.file('qmp'));
    const add = (length: number) =>
      qmp.execute('object-add', { 'qom-type': 'iothread', id: 'x'.repeat(length) });
    expect(await add(MAX_ID_LENGTH)).toEqual({});
    await expect(add(MAX_ID_LENGTH + 1)).rejects.toThrow(`at most ${MAX_ID_LENGTH} characters`);
    await expect(add(900_000)).rejects.toThrow(`at most ${MAX_ID_LENGTH} characters`);
    expect(await daemon.stop()).toMatchObject({ code: 0 });
  });

  test('characters of a log line', () => {
    const lines: string[] = [];
    new Log((line) => lines.push(line)).write('error', 'x'.repeat(10 * MAX_LINE_LENGTH));
    expect(lines[0]).toHaveLength(MAX_LINE_LENGTH + '…\n'.length);
  });
});

/** A client's side that takes nothing until it is told to. */
class Unread extends Writable {
  #goOn: (() => void) | undefined;

  constructor() {
    super({ highWaterMark: 1 });
  }

  override _write(_chunk: unknown, _encoding: string, goOn: () => void): void {
    this.#goOn = goOn;
  }

  read(): void {
    this.#goOn?.();
  }
}

describe('a client that does not read', () => {
  test('is given up when too many events wait for it', async () => {
    const client = { input: new PassThrough(), output: new Unread() };
    client.output.on('error', () => undefined);
    const session = new QmpSession(client, () => Promise.resolve({}), false);
    const over = session.run();
    client.output.read();
    client.input.write('{"execute":"qmp_capabilities"}');
    await until('the answer', () => client.output.writableLength > 0);
    let events = 0;
    for (; !client.output.destroyed && events < 100_000; events++) {
      session.notify('BLOCK_EXPORT_DELETED', { id: 'x'.repeat(100) });
      expect(client.output.writableLength).toBeLessThan(MAX_UNREAD + 1000);
    }
    expect(events).toBeLessThan(100_000);
    client.input.end();
    await over;
  });

  test('leaves nothing behind for every answer that it takes its time with', async () => {
    const client = { input: new PassThrough(), output: new Unread() };
    const session = new QmpSession(client, () => Promise.resolve({}), false);
    const before = client.output.listenerCount('close');
    const over = session.run();
    for (let i = 0; i < 50; i++) {
      client.output.read();
      client.input.write('{"execute":"qmp_capabilities"}');
      await until('an answer', () => client.output.writableLength > 0);
      expect(client.output.listenerCount('close')).toBeLessThanOrEqual(before + 1);
    }
    client.input.end();
    client.output.destroy();
    await over;
  });
});
