// How many devices an iothread serves decides whether it may do synchronous I/O: who may, and who does.
import { TRIAL_INTERVAL } from '@iothreads/core';
import { type DeviceOptions, IOThreadRuntime, type VqMappingOptions } from '@iothreads/iothread';
import { describe, expect, test } from 'vitest';
import { createMemory, Guest } from './support/guest.js';
import { syncAllowed, totals } from './support/statistics.js';
import { within } from './support/within.js';

type Mapping = string | readonly VqMappingOptions[];

type Step =
  | { readonly attach: string; readonly to: Mapping; readonly numQueues?: number }
  | { readonly move: string; readonly to: Mapping }
  | { readonly detach: string }
  | { readonly addIOThread: string }
  | { readonly removeIOThread: string }
  | { readonly drain: string }
  | { readonly reset: string };

interface Row {
  readonly name: string;
  readonly iothreads: readonly string[];
  /** Each step, and which iothreads may do synchronous I/O after it. */
  readonly steps: readonly (readonly [Step, Readonly<Record<string, boolean>>])[];
}

const spread = (...iothreads: string[]): VqMappingOptions[] => iothreads.map((iothread) => ({ iothread }));

const rows: readonly Row[] = [
  {
    name: 'one device on one iothread',
    iothreads: ['io0'],
    steps: [
      [{ attach: 'vda', to: 'io0' }, { io0: true }],
      [{ drain: 'vda' }, { io0: true }],
      [{ reset: 'vda' }, { io0: true }],
      [{ detach: 'vda' }, { io0: true }],
    ],
  },
  {
    name: 'a second device comes and goes',
    iothreads: ['io0'],
    steps: [
      [{ attach: 'vda', to: 'io0' }, { io0: true }],
      [{ attach: 'vdb', to: 'io0' }, { io0: false }],
      [{ detach: 'vdb' }, { io0: true }],
      [{ attach: 'vdc', to: 'io0' }, { io0: false }],
      [{ detach: 'vda' }, { io0: true }],
    ],
  },
  {
    name: 'three devices: only the last detach but one matters',
    iothreads: ['io0'],
    steps: [
      [{ attach: 'vda', to: 'io0' }, { io0: true }],
      [{ attach: 'vdb', to: 'io0' }, { io0: false }],
      [{ attach: 'vdc', to: 'io0' }, { io0: false }],
      [{ detach: 'vda' }, { io0: false }],
      [{ detach: 'vdc' }, { io0: true }],
    ],
  },
  {
    name: 'one device each',
    iothreads: ['io0', 'io1'],
    steps: [
      [
        { attach: 'vda', to: 'io0' },
        { io0: true, io1: true },
      ],
      [
        { attach: 'vdb', to: 'io1' },
        { io0: true, io1: true },
      ],
    ],
  },
  {
    name: 'moves: to a neighbour, away again, and across',
    iothreads: ['io0', 'io1'],
    steps: [
      [
        { attach: 'vda', to: 'io0' },
        { io0: true, io1: true },
      ],
      [
        { attach: 'vdb', to: 'io1' },
        { io0: true, io1: true },
      ],
      [
        { move: 'vda', to: 'io1' },
        { io0: true, io1: false },
      ],
      [
        { move: 'vdb', to: 'io0' },
        { io0: true, io1: true },
      ],
      [
        { move: 'vda', to: 'io0' },
        { io0: false, io1: true },
      ],
      [{ drain: 'vda' }, { io0: false, io1: true }],
      [{ reset: 'vdb' }, { io0: false, io1: true }],
      [
        { move: 'vda', to: 'io0' },
        { io0: false, io1: true },
      ],
      [{ detach: 'vdb' }, { io0: true, io1: true }],
    ],
  },
  {
    name: 'queues over two iothreads count on both',
    iothreads: ['io0', 'io1'],
    steps: [
      [
        { attach: 'vda', to: spread('io0', 'io1'), numQueues: 2 },
        { io0: true, io1: true },
      ],
      [
        { attach: 'vdb', to: 'io1' },
        { io0: true, io1: false },
      ],
      [
        { attach: 'vdc', to: 'io0' },
        { io0: false, io1: false },
      ],
      [
        { move: 'vda', to: 'io0' },
        { io0: false, io1: true },
      ],
      [{ detach: 'vdc' }, { io0: true, io1: true }],
      [
        { move: 'vda', to: spread('io0', 'io1') },
        { io0: true, io1: false },
      ],
      [{ detach: 'vda' }, { io0: true, io1: true }],
    ],
  },
  {
    name: 'two devices with queues over overlapping iothreads',
    iothreads: ['io0', 'io1', 'io2'],
    steps: [
      [
        { attach: 'vda', to: spread('io0', 'io1'), numQueues: 4 },
        { io0: true, io1: true, io2: true },
      ],
      [
        { attach: 'vdb', to: spread('io1', 'io2'), numQueues: 3 },
        { io0: true, io1: false, io2: true },
      ],
      [
        {
          move: 'vda',
          to: [
            { iothread: 'io2', vqs: [3] },
            { iothread: 'io0', vqs: [0, 1, 2] },
          ],
        },
        { io0: true, io1: true, io2: false },
      ],
      [{ detach: 'vdb' }, { io0: true, io1: true, io2: true }],
    ],
  },
  {
    name: 'iothreads come and go beside',
    iothreads: ['io0'],
    steps: [
      [{ attach: 'vda', to: 'io0' }, { io0: true }],
      [{ attach: 'vdb', to: 'io0' }, { io0: false }],
      [{ addIOThread: 'io1' }, { io0: false, io1: true }],
      [
        { move: 'vdb', to: 'io1' },
        { io0: true, io1: true },
      ],
      [
        { move: 'vda', to: 'io1' },
        { io0: true, io1: false },
      ],
      [{ removeIOThread: 'io0' }, { io1: false }],
      [{ detach: 'vda' }, { io1: true }],
    ],
  },
];

/** The machine of a row: its runtime, and a driver for each device. */
class Machine {
  readonly runtime = new IOThreadRuntime();
  readonly guests = new Map<string, Guest>();

  async step(step: Step): Promise<void> {
    const { runtime, guests } = this;
    if ('attach' in step) {
      const memory = createMemory();
      const device = await runtime.addDevice({
        id: step.attach,
        ...place(step.to),
        numQueues: step.numQueues ?? 1,
        drive: { driver: 'null' },
        memory,
      });
      guests.set(step.attach, await Guest.start(device, memory, { depth: 1 }));
    } else if ('move' in step) await runtime.moveDevice(step.move, step.to);
    else if ('detach' in step) {
      await runtime.removeDevice(step.detach);
      guests.delete(step.detach);
    } else if ('addIOThread' in step) await runtime.addIOThread({ id: step.addIOThread });
    else if ('removeIOThread' in step) await runtime.removeIOThread(step.removeIOThread);
    else if ('drain' in step) await runtime.drainDevice(step.drain);
    else {
      const guest = guests.get(step.reset)!;
      await guest.reset();
      await guest.start({ depth: 1 });
    }
  }

  /**
   * On a shared iothread nothing is synchronous, from the first request on. On one's own some of it is: how much, once
   * both ways have been measured, is for their costs to say, but never nothing.
   */
  async proveDispatch(allowed: Readonly<Record<string, boolean>>): Promise<void> {
    for (const [id, guest] of this.guests) {
      const on = guest.device.iothreads.map((iothread) => allowed[iothread]);
      const before = await totals(this.runtime, id);
      // More than the interval of trials: those are subject to the same prohibition.
      const each = 3 * TRIAL_INTERVAL;
      for (const queue of guest.queues) await queue.readOneByOne(each);
      const after = await totals(this.runtime, id);
      const sync = after.sync - before.sync;
      const requests = each * guest.queues.length;
      expect(after.operations - before.operations, `${id}: operations`).toBe(requests);
      if (!on.includes(true)) expect(sync, `${id} on shared iothreads alone: synchronous`).toBe(0);
      if (!on.includes(false)) expect(sync, `${id} alone: synchronous`).toBeGreaterThan(0);
    }
  }
}

const place = (to: Mapping): Pick<DeviceOptions, 'iothread' | 'iothreadVqMapping'> =>
  typeof to === 'string' ? { iothread: to } : { iothreadVqMapping: to };

describe('who may do synchronous I/O', () => {
  test.each(rows)('$name', async ({ iothreads, steps }) => {
    const machine = new Machine();
    await using runtime = machine.runtime;
    await runtime.configure({ iothreads: iothreads.map((id) => ({ id })) });
    expect(await syncAllowed(runtime)).toEqual(Object.fromEntries(iothreads.map((id) => [id, true])));
    for (const [step, allowed] of steps) {
      await within(machine.step(step), JSON.stringify(step));
      expect(await syncAllowed(runtime), JSON.stringify(step)).toEqual(allowed);
      await machine.proveDispatch(allowed);
    }
  });

  test('a queue on an iothread of its own is synchronous though another queue of its device is not', async () => {
    const machine = new Machine();
    await using runtime = machine.runtime;
    await runtime.configure({ iothreads: [{ id: 'io0' }, { id: 'io1' }] });
    await machine.step({ attach: 'vda', to: spread('io0', 'io1'), numQueues: 2 });
    await machine.step({ attach: 'vdb', to: 'io1' });
    const [own, shared] = machine.guests.get('vda')!.queues;
    await own!.readOneByOne(100);
    const alone = await totals(runtime, 'vda');
    expect(alone.sync).toBeGreaterThan(50);
    await shared!.readOneByOne(200);
    expect((await totals(runtime, 'vda')).sync).toBe(alone.sync);
  });

  test('many devices: no request is synchronous while more than one is left, whichever goes first', async () => {
    const machine = new Machine();
    await using runtime = machine.runtime;
    await runtime.addIOThread({ id: 'io0' });
    const ids = Array.from({ length: 6 }, (_, i) => `disk${i}`);
    for (const id of ids) await machine.step({ attach: id, to: 'io0' });
    // The oldest and the youngest in turn.
    while (ids.length > 1) {
      await machine.proveDispatch({ io0: false });
      await machine.step({ detach: ids.length % 2 === 0 ? ids.shift()! : ids.pop()! });
      expect(await syncAllowed(runtime)).toEqual({ io0: ids.length <= 1 });
    }
    await machine.proveDispatch({ io0: true });
  });

  test('the second attach turns synchronous I/O off under load, and the detach turns it on again', async () => {
    const machine = new Machine();
    await using runtime = machine.runtime;
    await runtime.addIOThread({ id: 'io0' });
    await machine.step({ attach: 'vda', to: 'io0' });
    const { queue } = machine.guests.get('vda')!;
    const run = { stop: false };
    const load = (async () => {
      while (!run.stop) await queue.readOneByOne(1);
    })();
    for (let round = 0; round < 5; round++) {
      await machine.step({ attach: 'vdb', to: 'io0' });
      const begin = await totals(runtime, 'vda');
      const neighbour = machine.guests.get('vdb')!.queue;
      await neighbour.readOneByOne(200);
      const end = await totals(runtime, 'vda');
      expect(end.sync - begin.sync).toBe(0);
      expect((await totals(runtime, 'vdb')).sync).toBe(0);
      await machine.step({ detach: 'vdb' });
    }
    run.stop = true;
    await within(load, 'the end of the load');
    const shared = await totals(runtime, 'vda');
    await queue.readOneByOne(3 * TRIAL_INTERVAL);
    expect((await totals(runtime, 'vda')).sync).toBeGreaterThan(shared.sync);
  });

  test('alone from the beginning, one request at a time: most of it is synchronous', async () => {
    const machine = new Machine();
    await using runtime = machine.runtime;
    await runtime.addIOThread({ id: 'io0' });
    await machine.step({ attach: 'vda', to: 'io0' });
    await machine.guests.get('vda')!.queue.readOneByOne(50);
    const { operations, sync } = await totals(runtime, 'vda');
    expect(operations).toBe(50);
    expect(sync).toBeGreaterThan(25);
  });
});
