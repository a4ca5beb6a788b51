// A runtime from its first iothread to its end.
import { IOThreadRuntime } from '@iothreads/iothread';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';

const memory = new SharedArrayBuffer(65536);
const device = { id: 'vda', iothread: 'io0', drive: { driver: 'null' }, memory } as const;

describe('closing', () => {
  test('twice, and at the same time, is the same as once', async () => {
    const runtime = new IOThreadRuntime();
    await runtime.addIOThread({ id: 'io0' });
    await runtime.addDevice(device);
    await Promise.all([runtime.close(), runtime.close()]);
    await runtime.close();
    await runtime[Symbol.asyncDispose]();
  });

  test('a runtime that never had anything', async () => {
    await new IOThreadRuntime().close();
  });

  test('happens at the end of a block', async () => {
    let escaped: IOThreadRuntime;
    {
      await using runtime = new IOThreadRuntime();
      await runtime.addIOThread({ id: 'io0' });
      escaped = runtime;
    }
    expect(() => escaped.device('vda')).toThrow("there is no device 'vda'");
    await expect(escaped.queryIOThreads()).rejects.toMatchObject({ code: 'ERR_RUNTIME_CLOSED' });
  });

  test('happens when the block throws', async () => {
    let escaped: IOThreadRuntime | undefined;
    await expect(
      (async () => {
        await using runtime = new IOThreadRuntime();
        escaped = runtime;
        await runtime.addIOThread({ id: 'io0' });
        throw new Error('thrown in the block');
      })(),
    ).rejects.toThrow('thrown in the block');
    await expect(escaped!.queryIOThreads()).rejects.toMatchObject({ code: 'ERR_RUNTIME_CLOSED' });
  });

  const calls: Record<string, (runtime: IOThreadRuntime) => Promise<unknown>> = {
    addIOThread: (runtime) => runtime.addIOThread({ id: 'io1' }),
    addDevice: (runtime) => runtime.addDevice({ ...device, id: 'vdb' }),
    configure: (runtime) => runtime.configure({}),
    moveDevice: (runtime) => runtime.moveDevice('vda', 'io0'),
    drainDevice: (runtime) => runtime.drainDevice('vda'),
    removeDevice: (runtime) => runtime.removeDevice('vda'),
    removeIOThread: (runtime) => runtime.removeIOThread('io0'),
    queryIOThreads: (runtime) => runtime.queryIOThreads(),
    queryBlockStats: async (runtime) => runtime.queryBlockStats(),
  };

  test('refuses every later call', async () => {
    const runtime = new IOThreadRuntime();
    await runtime.addIOThread({ id: 'io0' });
    await runtime.addDevice(device);
    // As soon as it has begun.
    const closed = runtime.close();
    for (const [name, call] of Object.entries(calls)) {
      await expect(call(runtime), name).rejects.toMatchObject({
        name: 'IOThreadError',
        code: 'ERR_RUNTIME_CLOSED',
      });
    }
    await closed;
    for (const [name, call] of Object.entries(calls)) {
      await expect(call(runtime), name).rejects.toMatchObject({ code: 'ERR_RUNTIME_CLOSED' });
    }
  });

  test('ends calls that are under way, one way or the other', async () => {
    const runtime = new IOThreadRuntime();
    await runtime.configure({ iothreads: [{ id: 'io0' }, { id: 'io1' }] });
    await runtime.addDevice(device);
    const pending = Promise.allSettled([
      runtime.moveDevice('vda', 'io1'),
      runtime.drainDevice('vda'),
      runtime.addDevice({ ...device, id: 'vdb' }),
      runtime.addIOThread({ id: 'io2' }),
      runtime.queryIOThreads(),
    ]);
    await runtime.close();
    for (const outcome of await pending) {
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ name: 'IOThreadError' });
    }
  });
});

describe('iothreads', () => {
  test('one with a device is not removed', async () => {
    await using runtime = new IOThreadRuntime();
    await runtime.addIOThread({ id: 'io0' });
    await runtime.addDevice(device);
    await expect(runtime.removeIOThread('io0')).rejects.toMatchObject({
      code: 'ERR_IOTHREAD_IN_USE',
      message: "iothread 'io0' still serves 'vda': move or remove them first",
    });
    await runtime.removeDevice('vda');
    await runtime.removeIOThread('io0');
    await expect(runtime.removeIOThread('io0')).rejects.toMatchObject({ code: 'ERR_UNKNOWN_IOTHREAD' });
  });

  test('one that a device is just moving to is not removed', async () => {
    await using runtime = new IOThreadRuntime();
    await runtime.configure({ iothreads: [{ id: 'io0' }, { id: 'io1' }] });
    await runtime.addDevice(device);
    const moved = runtime.moveDevice('vda', 'io1');
    // The move has its turn before this call looks.
    await Promise.resolve();
    await Promise.resolve();
    const removed = runtime.removeIOThread('io1');
    await expect(removed).rejects.toMatchObject({ code: 'ERR_IOTHREAD_IN_USE' });
    await moved;
  });

  test('one that is removed while a device is being added: the call ends, and the device is not there', async () => {
    await using runtime = new IOThreadRuntime();
    await runtime.addIOThread({ id: 'io0' });
    const [added] = await Promise.allSettled([runtime.addDevice(device), runtime.removeIOThread('io0')]);
    expect(added).toMatchObject({ status: 'rejected', reason: { name: 'IOThreadError' } });
    expect(await runtime.queryBlockStats()).toEqual([]);
  });

  test('32 at once: each is a thread of its own, and all of them end', async () => {
    const runtime = new IOThreadRuntime();
    const ids = Array.from({ length: 32 }, (_, i) => `io${i}`);
    await runtime.configure({
      iothreads: ids.map((id) => ({ id })),
      devices: ids.map((iothread, i) => ({ ...device, id: `disk${i}`, iothread })),
    });
    const reports = await runtime.queryIOThreads();
    expect(reports.map(({ id }) => id)).toEqual(ids);
    expect(new Set(reports.map(({ threadId }) => threadId)).size).toBe(32);
    for (const { alive, syncAllowed, devices } of reports) {
      expect([alive, syncAllowed, devices.length]).toEqual([true, true, 1]);
    }
    await runtime.close();
  });
});

describe('the process', () => {
  function start(way: string): { child: ChildProcess; output: () => string } {
    const fixture = fileURLToPath(new URL('./fixtures/lifecycle.mjs', import.meta.url));
    const child = spawn(process.execPath, [fixture, way], { stdio: ['ignore', 'pipe', 'pipe'] });
    let text = '';
    child.stdout.on('data', (data: Buffer) => (text += data.toString()));
    child.stderr.on('data', (data: Buffer) => (text += data.toString()));
    return { child, output: () => text };
  }

  test.each(['closed', 'listening', 'empty'])('%s: ends by itself', async (way) => {
    const { child, output } = start(way);
    const [code] = (await once(child, 'close')) as [number];
    expect({ code, output: output() }).toEqual({ code: 0, output: 'ready\n' });
  });

  test('closed while iothreads are starting: ends by itself, and the start was refused', async () => {
    const { child, output } = start('hasty');
    const [code] = (await once(child, 'close')) as [number];
    expect({ code, output: output() }).toEqual({ code: 0, output: 'ERR_RUNTIME_CLOSED\nready\n' });
  });

  test('with an open runtime stays', async () => {
    const { child, output } = start('open');
    while (!output().includes('ready')) await once(child.stdout!, 'data');
    // Long enough to end, were there nothing to keep it.
    await delay(300);
    child.kill('SIGTERM');
    const [code, signal] = (await once(child, 'close')) as [number | null, string | null];
    expect([code, signal]).toEqual([null, 'SIGTERM']);
  });
});
