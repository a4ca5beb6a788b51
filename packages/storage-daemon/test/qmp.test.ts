import { describe, expect, test } from 'vitest';
import { DaemonProcess } from './support/daemon-process.js';
import { QmpClient } from './support/qmp-client.js';
import { Scratch } from './support/scratch.js';

/** A daemon with a monitor, and a client of it. */
async function withMonitor(
  what: (qmp: QmpClient, scratch: Scratch, daemon: DaemonProcess) => Promise<void>,
  ...args: readonly string[]
): Promise<void> {
  using scratch = new Scratch();
  const chardev = `socket,id=m,path=${scratch.file('qmp')},server=on,wait=off`;
  await using daemon = new DaemonProcess(['--chardev', chardev, '--monitor', 'm', ...args], {
    cwd: scratch.path,
  });
  await daemon.ready();
  using qmp = await QmpClient.connect(scratch.file('qmp'));
  await what(qmp, scratch, daemon);
  expect(await daemon.stop()).toMatchObject({ code: 0, stdout: '' });
  expect(scratch.list().filter((name) => !name.endsWith('.img'))).toEqual([]);
}

describe('the conversation', () => {
  test('begins with a greeting and negotiation', () =>
    withMonitor(async (first, scratch) => {
      first.socket.end();
      expect(await first.next()).toBeUndefined();
      using qmp = await QmpClient.open(scratch.file('qmp'));
      expect(await qmp.next()).toEqual({
        QMP: {
          version: { qemu: { major: 7, minor: 2, micro: 0 }, package: 'iothreads-storage-daemon 0.1.0' },
          capabilities: [],
        },
      });
      await expect(qmp.execute('query-version')).rejects.toThrow('CommandNotFound: Expecting capabilities');
      await expect(qmp.execute('qmp_capabilities', { enable: ['oob'] })).rejects.toThrow('Capability oob');
      expect(await qmp.execute('qmp_capabilities', { enable: [] })).toEqual({});
      await expect(qmp.execute('qmp_capabilities')).rejects.toThrow('already complete');
    }));

  test('echoes ids, in the order of the commands', () =>
    withMonitor(async (qmp) => {
      qmp.send(
        '{"execute":"query-version","id":1}{"execute":"nope","id":{"a":[2]}}\n{"id":null,"execute":"quit"}',
      );
      expect(await qmp.next()).toMatchObject({ id: 1, return: { qemu: {} } });
      expect(await qmp.next()).toEqual({
        id: { a: [2] },
        error: { class: 'CommandNotFound', desc: 'The command nope has not been found' },
      });
      expect(await qmp.next()).toEqual({ id: null, return: {} });
    }));

  test.each([
    ['[1]', 'QMP input must be a JSON object'],
    ['5\n', 'QMP input must be a JSON object'],
    ['{}', "QMP input lacks member 'execute'"],
    ['{"execute":5}', "QMP input member 'execute' must be a string"],
    ['{"exec":"a"}', "QMP input member 'exec' is unexpected"],
    ['{"execute":"query-version","arguments":5}', "QMP input member 'arguments' must be an object"],
    ['{"execute":"query-version","arguments":{"x":1}}', "Parameter 'x' is unexpected"],
    ['{"execute":"query-version","execute":"quit"}', "JSON parse error, duplicate key 'execute'"],
    ['nonsense\n', 'JSON parse error'],
    [`${'{"a":'.repeat(100)}\n`, 'JSON nesting depth limit exceeded'],
    [`{"execute":"${'x'.repeat(2 << 20)}"}\n`, 'JSON message size limit exceeded'],
  ])('goes on after a mistake: %#', (text, message) =>
    withMonitor(async (qmp) => {
      qmp.send(text);
      const { error } = (await qmp.next())!;
      expect(error).toMatchObject({ class: 'GenericError' });
      expect(error!.desc).toContain(message);
      expect(await qmp.execute('query-version')).toMatchObject({ qemu: {} });
    }),
  );

  test('lists the commands that there are', () =>
    withMonitor(async (qmp) => {
      const names = ((await qmp.execute('query-commands')) as { name: string }[]).map(({ name }) => name);
      expect(names).toEqual(
        expect.arrayContaining([
          'qmp_capabilities',
          'blockdev-add',
          'block-export-add',
          'query-iothreads',
          'quit',
        ]),
      );
      for (const name of names.filter((each) => each !== 'quit')) {
        // No command takes this, and every command says so, or what has to be known first.
        await expect(qmp.execute(name, { 'no-such': 1 }), name).rejects.toThrow(
          /'no-such' is unexpected|'driver' is missing|already complete/,
        );
      }
    }));

  test('waits for a client that does not read', () =>
    withMonitor(async (qmp) => {
      qmp.socket.pause();
      const count = 2000;
      for (let id = 0; id < count; id++) qmp.send(`{"execute":"query-commands","id":${id}}`);
      qmp.socket.resume();
      for (let id = 0; id < count; id++) expect((await qmp.next())?.id).toBe(id);
    }));
});

describe('objects', () => {
  test('are made, looked at and deleted', () =>
    withMonitor(async (qmp) => {
      expect(await qmp.execute('query-iothreads')).toEqual([]);
      const io0 = { 'qom-type': 'iothread', id: 'io0', 'poll-max-ns': 5000, 'aio-max-batch': 7 };
      expect(await qmp.execute('object-add', io0)).toEqual({});
      await expect(qmp.execute('object-add', io0)).rejects.toThrow("duplicate property 'io0'");
      expect(await qmp.execute('query-iothreads')).toEqual([
        {
          id: 'io0',
          'thread-id': expect.any(Number),
          'poll-max-ns': 5000,
          'poll-grow': 0,
          'poll-shrink': expect.any(Number),
          'aio-max-batch': 7,
          'x-alive': true,
          'x-restarts': 0,
          'x-poll-ns': expect.any(Number),
          'x-devices': [],
          'x-sync-allowed': true,
        },
      ]);
      expect(await qmp.execute('qom-list', { path: '/objects' })).toEqual([
        { name: 'type', type: 'string' },
        { name: 'io0', type: 'child<iothread>' },
      ]);
      expect(await qmp.execute('qom-list', { path: '/objects/io0' })).toContainEqual({
        name: 'poll-max-ns',
        type: 'int',
      });
      const get = (property: string) => qmp.execute('qom-get', { path: '/objects/io0', property });
      expect(await get('poll-max-ns')).toBe(5000);
      expect(await get('type')).toBe('iothread');
      await expect(get('nope')).rejects.toThrow("GenericError: Property 'iothread.nope' not found");
      await expect(qmp.execute('qom-list', { path: '/objects/io1' })).rejects.toThrow(
        "DeviceNotFound: Device '/objects/io1' not found",
      );
      expect(await qmp.execute('object-del', { id: 'io0' })).toEqual({});
      await expect(qmp.execute('object-del', { id: 'io0' })).rejects.toThrow("object 'io0' not found");
      expect(await qmp.execute('query-iothreads')).toEqual([]);
    }));

  test("that serve exports stay, the daemon's own is none", () =>
    withMonitor(async (qmp, scratch) => {
      await qmp.execute('object-add', { 'qom-type': 'iothread', id: 'io0' });
      await qmp.execute('blockdev-add', { driver: 'null-co', 'node-name': 'n' });
      const addr = { type: 'unix', path: scratch.file('s') };
      const own = { type: 'vhost-user-blk', id: 'e', 'node-name': 'n', addr };
      await qmp.execute('block-export-add', { ...own, iothread: 'io0' });
      await expect(qmp.execute('object-del', { id: 'io0' })).rejects.toThrow("it serves export 'e'");
      await qmp.execute('block-export-del', { id: 'e' });
      await qmp.execute('object-del', { id: 'io0' });
      await qmp.execute('block-export-add', own);
      expect(await qmp.execute('query-iothreads')).toMatchObject([{ id: 'main-loop' }]);
      expect(await qmp.execute('qom-list', { path: '/objects' })).toEqual([{ name: 'type', type: 'string' }]);
      await expect(qmp.execute('object-del', { id: 'main-loop' })).rejects.toThrow('not found');
    }));
});

interface NodeInfo {
  readonly 'node-name': string;
  readonly drv: string;
  readonly ro: boolean;
  readonly image: { readonly 'virtual-size': number };
}

async function nodes(qmp: QmpClient): Promise<string[]> {
  const list = (await qmp.execute('query-named-block-nodes', { flat: true })) as NodeInfo[];
  return list.map(
    ({ 'node-name': name, drv, ro, image }) => `${name} ${drv} ${image['virtual-size']}${ro ? ' ro' : ''}`,
  );
}

describe('nodes', () => {
  test('are made of each other, and go when nobody needs them', () =>
    withMonitor(async (qmp) => {
      await qmp.execute('blockdev-add', { driver: 'null-co', 'node-name': 'n', size: 1 << 20 });
      await qmp.execute('blockdev-add', {
        driver: 'raw',
        'node-name': 'r',
        file: 'n',
        offset: 512,
        size: 1024,
      });
      await qmp.execute('blockdev-add', {
        driver: 'raw',
        'node-name': 'i',
        file: { driver: 'memory', 'node-name': 'c', size: 4096 },
        'read-only': true,
      });
      await qmp.execute('blockdev-add', { driver: 'raw', 'node-name': 'j', file: { driver: 'null-aio' } });
      expect(await nodes(qmp)).toEqual([
        'j raw 1073741824',
        '#block000 null-aio 1073741824',
        'i raw 4096 ro',
        'c memory 4096 ro',
        'r raw 1024',
        'n null-co 1048576',
      ]);
      const del = (name: string) => qmp.execute('blockdev-del', { 'node-name': name });
      await expect(del('n')).rejects.toThrow("Node n is in use by node 'r'");
      await expect(del('c')).rejects.toThrow("Node c is in use by node 'i'");
      await expect(del('zz')).rejects.toThrow("Failed to find node with node-name='zz'");
      for (const name of ['r', 'i', 'j', 'n']) expect(await del(name)).toEqual({});
      expect(await nodes(qmp)).toEqual([]);
    }));

  test('that fail leave nothing behind', () =>
    withMonitor(async (qmp) => {
      const child = { driver: 'null-co', 'node-name': 'c', size: 4096 };
      const add = (more: object) =>
        qmp.execute('blockdev-add', { driver: 'raw', 'node-name': 'r', file: child, ...more });
      await expect(add({ offset: 4096, size: 4096 })).rejects.toThrow('GenericError');
      await expect(add({ 'node-name': 'c' })).rejects.toThrow("Duplicate nodes with node-name='c'");
      expect(await nodes(qmp)).toEqual([]);
      expect(await add({})).toEqual({});
    }));

  test('in use by exports stay', () =>
    withMonitor(async (qmp, scratch) => {
      await qmp.execute('blockdev-add', { driver: 'null-co', 'node-name': 'n' });
      for (const id of ['e', 'f']) {
        const addr = { type: 'unix', path: scratch.file(id) };
        await qmp.execute('block-export-add', {
          type: 'vhost-user-blk',
          id,
          'node-name': 'n',
          addr,
          writable: true,
        });
      }
      const del = () => qmp.execute('blockdev-del', { 'node-name': 'n' });
      await expect(del()).rejects.toThrow("Node n is in use by export 'e' and export 'f'");
      expect(await qmp.execute('query-block-exports')).toEqual(
        ['e', 'f'].map((id) => ({
          id,
          type: 'vhost-user-blk',
          'node-name': 'n',
          'shutting-down': false,
          'io-status': 'ok',
        })),
      );
      for (const id of ['e', 'f']) expect(await qmp.execute('block-export-del', { id })).toEqual({});
      expect(qmp.events.map(({ event, data }) => ({ event, data }))).toEqual(
        ['e', 'f'].map((id) => ({ event: 'BLOCK_EXPORT_DELETED', data: { id } })),
      );
      await expect(qmp.execute('block-export-del', { id: 'e' })).rejects.toThrow("Export 'e' is not found");
      await expect(qmp.execute('block-export-del', { id: 'e', mode: 'soft' })).rejects.toThrow(
        "value 'soft'",
      );
      expect(await del()).toEqual({});
    }));

  test('change their size where they can', () =>
    withMonitor(async (qmp) => {
      await qmp.execute('blockdev-add', { driver: 'null-co', 'node-name': 'n', size: 4096 });
      await qmp.execute('blockdev-add', { driver: 'raw', 'node-name': 'r', file: 'n' });
      expect(await qmp.execute('block_resize', { 'node-name': 'r', size: 8192 })).toEqual({});
      expect(await nodes(qmp)).toEqual(['r raw 8192', 'n null-co 8192']);
      await expect(qmp.execute('block_resize', { 'node-name': 'n', size: 5 })).rejects.toThrow(
        'GenericError',
      );
      await expect(qmp.execute('block_resize', { size: 512 })).rejects.toThrow("'node-name' is missing");
      await qmp.execute('blockdev-add', { driver: 'raw', 'node-name': 'w', file: 'n', offset: 512 });
      await expect(qmp.execute('block_resize', { 'node-name': 'w', size: 512 })).rejects.toThrow(
        "a part of 'n'",
      );
      await expect(qmp.execute('block_resize', { 'node-name': 'n', size: 512 })).rejects.toThrow(
        "'w' is a part",
      );
    }));
});

describe('iothreads of exports', () => {
  test('can be changed unless they are fixed', () =>
    withMonitor(
      async (qmp, scratch) => {
        await qmp.execute('blockdev-add', { driver: 'null-co', 'node-name': 'n' });
        const serve = (id: string, more: object) =>
          qmp.execute('block-export-add', {
            type: 'vhost-user-blk',
            id,
            'node-name': 'n',
            addr: { type: 'unix', path: scratch.file(id) },
            ...more,
          });
        await serve('e', { iothread: 'a' });
        const move = (iothread: string | null) =>
          qmp.execute('x-blockdev-set-iothread', { 'node-name': 'n', iothread });
        expect(await move('b')).toEqual({});
        await qmp.execute('object-del', { id: 'a' });
        await expect(qmp.execute('object-del', { id: 'b' })).rejects.toThrow("it serves export 'e'");
        await expect(move('a')).rejects.toThrow('iothread "a" not found');
        expect(await move(null)).toEqual({});
        await qmp.execute('object-del', { id: 'b' });
        await serve('f', { 'fixed-iothread': true });
        await expect(move(null)).rejects.toThrow("export 'f' has fixed-iothread=on");
      },
      '--object=iothread,id=a',
      '--object=iothread,id=b',
    ));
});

describe('statistics', () => {
  test("have QEMU's shape, and tell of exports", () =>
    withMonitor(async (qmp, scratch) => {
      const empty = { boundaries: [], bins: [0] };
      const stats = {
        rd_operations: 0,
        rd_bytes: 0,
        wr_bytes: 0,
        unmap_bytes: 0,
        flush_operations: 0,
        rd_total_time_ns: 0,
        failed_wr_operations: 0,
        invalid_rd_operations: 0,
        account_failed: false,
        timed_stats: [],
        rd_latency_histogram: empty,
        wr_latency_histogram: empty,
      };
      expect(await qmp.execute('query-blockstats', { 'query-nodes': true })).toMatchObject([
        { 'node-name': 'n', stats, 'x-exports': [] },
      ]);
      const addr = { type: 'unix', path: scratch.file('s') };
      await qmp.execute('block-export-add', { type: 'vhost-user-blk', id: 'e', 'node-name': 'n', addr });
      await qmp.execute('block-latency-histogram-set', { id: 'e', 'boundaries-read': [10, 50] });
      const bins = { boundaries: [10, 50], bins: [0, 0, 0] };
      expect(await qmp.execute('query-blockstats')).toMatchObject([
        {
          stats: { ...stats, rd_latency_histogram: bins },
          'x-exports': [
            { id: 'e', iothreads: ['main-loop'], sync: 0, async: 0, kinds: { read: { operations: 0 } } },
          ],
        },
      ]);
      await qmp.execute('block-latency-histogram-set', { id: 'n' });
      expect(await qmp.execute('query-blockstats')).toMatchObject([{ stats }]);
      const set = (boundaries: unknown) =>
        qmp.execute('block-latency-histogram-set', { id: 'n', boundaries });
      await expect(set([50, 10])).rejects.toThrow('ascending');
      await expect(set([0])).rejects.toThrow("'boundaries.0' expects an integer from 1");
      await expect(set(5)).rejects.toThrow('expected: array');
      await expect(qmp.execute('block-latency-histogram-set', { id: 'x' })).rejects.toThrow("'x' not found");
    }, '--blockdev=null-co,node-name=n'));
});
