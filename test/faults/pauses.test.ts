// A disk that fails what its device must not fail: the device waits, and nothing is lost (werror, rerror).
import {
  type BouncedMemory,
  VIRTIO_BLK_S_IOERR,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_DISCARD,
  VIRTIO_BLK_T_FLUSH,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VIRTIO_BLK_T_WRITE_ZEROES,
} from '@iothreads/core';
import { type DeviceOptions, type IOErrorReport, IOThreadRuntime } from '@iothreads/iothread';
import { once } from 'node:events';
import { describe, expect, test } from 'vitest';
import { FaultyDisk } from '../support/faulty-disk.js';
import { MachineLine } from '../support/machine-line.js';
import { createMemory, Guest, type GuestQueue, type Outcome } from '../support/guest.js';
import { blockStats, totals } from '../support/statistics.js';
import { until, within } from '../support/within.js';

/** One device on a faulty disk, its guest, and what its owner hears. */
class Scene implements AsyncDisposable {
  readonly runtime = new IOThreadRuntime();
  readonly disk = new FaultyDisk();
  readonly reports: IOErrorReport[] = [];
  guest!: Guest;

  static async start(options: Partial<DeviceOptions> = {}): Promise<Scene> {
    const scene = new Scene();
    scene.runtime.on('ioError', (id, report) => {
      expect(id).toBe('vda');
      scene.reports.push(report);
    });
    await scene.runtime.configure({ iothreads: [{ id: 'io0' }, { id: 'io1' }, { id: 'io2' }] });
    const place = options.iothreadVqMapping === undefined ? { iothread: 'io0' } : {};
    const memory = options.memory ?? createMemory();
    const device = await scene.runtime.addDevice({
      id: 'vda',
      drive: scene.disk.drive,
      ...place,
      ...options,
      memory,
    });
    const ram =
      memory instanceof SharedArrayBuffer ? memory : ((memory as BouncedMemory).buffer() as ArrayBuffer);
    scene.guest = await Guest.start(device, ram, { line: new MachineLine(device, false) });
    return scene;
  }

  get queue(): GuestQueue {
    return this.guest.queue;
  }

  async paused(): Promise<void> {
    await until('the pause', () => this.guest.device.ioStatus !== 'ok');
  }

  /** Waits until so many calls of the disk have failed, and the iothread has done with them. */
  async failed(count: number): Promise<void> {
    await this.disk.failed(count);
    await this.paused();
    for (let i = 0; i < 3; i++) await this.runtime.queryIOThreads();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.disk.letGo();
    await this.runtime.close();
  }
}

const block = (byte: number): Uint8Array => new Uint8Array(512).fill(byte);

/** Writes to these sectors, each with its own number. */
function writeTo(queue: GuestQueue, ...sectors: number[]): Promise<Outcome[]> {
  const outcomes = sectors.map((sector) => queue.add(VIRTIO_BLK_T_OUT, sector, block(sector + 1)));
  queue.go();
  return Promise.all(outcomes);
}

const statuses = async (outcomes: Promise<Outcome[]>): Promise<number[]> =>
  (await within(outcomes, 'the requests')).map(({ status }) => status);

const range = (sectors: number): Uint8Array => {
  const bytes = new DataView(new ArrayBuffer(16));
  bytes.setUint32(8, sectors, true);
  return new Uint8Array(bytes.buffer);
};

const sectorsUpTo = (count: number): number[] => Array.from({ length: count }, (_, sector) => sector);

describe('a disk that is full', () => {
  test('pauses the device; after room has been made every write is there, in order, and none has failed', async () => {
    await using scene = await Scene.start();
    const { disk, queue, runtime, guest } = scene;
    await queue.write(0, block(1));
    disk.fail('ENOSPC');
    const sectors = sectorsUpTo(40);
    const writes = writeTo(queue, ...sectors);
    await scene.failed(1);
    const { failures } = disk;
    expect(queue.completions).toBe(1);
    expect(guest.device.ioStatus).toBe('nospace');
    expect((await blockStats(runtime, 'vda')).ioStatus).toBe('nospace');
    await until('the report', () => scene.reports.length > 0);
    expect(scene.reports[0]).toEqual({
      operation: 'WRITE',
      action: 'stop',
      errorCode: 'ENOSPC',
      nospace: true,
      paused: true,
      suppressed: 0,
    });
    // Nothing more is tried, kicks or not.
    for (let i = 0; i < 50; i++) {
      guest.device.kick(0);
      await runtime.queryIOThreads();
    }
    expect(disk.failures).toBe(failures);

    disk.mend();
    expect(await runtime.continueDevice('vda')).toBe(true);
    expect(await statuses(writes)).toEqual(sectors.map(() => VIRTIO_BLK_S_OK));
    expect(disk.written).toEqual([0, ...sectors]);
    for (const sector of sectors) expect(disk.byteAt(sector)).toBe(sector + 1);
    expect(guest.device.ioStatus).toBe('ok');
    expect(await runtime.continueDevice('vda')).toBe(false);
    expect((await totals(runtime, 'vda')).errors).toBe(0);
    await queue.readOneByOne(5);
  });

  test('that still is full pauses the device again, as often as it is told to go on', async () => {
    await using scene = await Scene.start();
    const { disk, queue, runtime } = scene;
    const sectors = sectorsUpTo(60);
    disk.hold();
    const writes = writeTo(queue, ...sectors);
    // All of them are kept, which is more than a turn does again.
    await disk.came(60);
    disk.fail('ENOSPC');
    disk.letGo();
    for (let round = 0; round < 5; round++) {
      await scene.failed(disk.failures + (round === 0 ? 1 : 0));
      await runtime.continueDevice('vda');
      await scene.paused();
      expect(queue.completions).toBe(0);
    }
    // A disk that is mended while it still fails what it was given would have it paused once more.
    await scene.failed(disk.failures);
    disk.mend();
    await runtime.continueDevice('vda');
    await statuses(writes);
    expect(disk.written).toEqual(sectors);
    // Each time that it was paused its owner heard of that at once.
    expect(scene.reports.filter(({ paused }) => paused).length).toBeGreaterThanOrEqual(6);
  });

  test.each(['flush', 'discard', 'zero'] as const)('pauses it for a %s as well', async (call) => {
    await using scene = await Scene.start();
    const { disk, queue, runtime } = scene;
    disk.fail('EDQUOT', call);
    const outcome =
      call === 'flush'
        ? queue.add(VIRTIO_BLK_T_FLUSH, 0, 0)
        : queue.add(call === 'zero' ? VIRTIO_BLK_T_WRITE_ZEROES : VIRTIO_BLK_T_DISCARD, 0, range(8));
    queue.go();
    await scene.failed(1);
    disk.mend();
    await runtime.continueDevice('vda');
    expect((await within(outcome, call)).status).toBe(VIRTIO_BLK_S_OK);
  });

  test('pauses it for the flush behind a write that goes through', async () => {
    await using scene = await Scene.start();
    const { disk, queue, runtime, guest } = scene;
    guest.device.virtio.writeConfig(32, Uint8Array.of(0));
    disk.fail('ENOSPC', 'flush');
    const writes = writeTo(queue, 3);
    await scene.failed(1);
    expect(disk.written).toEqual([3]);
    disk.mend();
    await runtime.continueDevice('vda');
    expect(await statuses(writes)).toEqual([VIRTIO_BLK_S_OK]);
    expect(disk.written).toEqual([3, 3]);
  });
});

describe('while a device is paused', () => {
  test('what is in flight finishes, well or not, and what fails then is kept in its order', async () => {
    await using scene = await Scene.start({ werror: 'stop', rerror: 'stop' });
    const { disk, queue, runtime } = scene;
    disk.hold();
    const requests = writeTo(queue, 1, 2, 3);
    const read = queue.add(VIRTIO_BLK_T_IN, 9, 512);
    queue.go();
    await disk.came(4);
    disk.fail('EIO', 'write');
    disk.letGo();
    expect((await within(read, 'the read')).status).toBe(VIRTIO_BLK_S_OK);
    await scene.failed(3);
    expect(scene.guest.device.ioStatus).toBe('failed');
    const later = queue.add(VIRTIO_BLK_T_IN, 1, 512);
    queue.go();
    disk.mend();
    await runtime.continueDevice('vda');
    expect(await statuses(requests)).toEqual([0, 0, 0]);
    expect(disk.written).toEqual([1, 2, 3]);
    await within(later, 'the read behind them');
  });

  test('its iothread sleeps, however full the rings are and however often they are kicked', async () => {
    await using scene = await Scene.start();
    const { disk, queue, runtime, guest } = scene;
    disk.fail('ENOSPC');
    void writeTo(queue, ...sectorsUpTo(60));
    await scene.failed(1);
    const loop = async (): Promise<{ passes: number; sleeps: number; lostWakeups: number }> =>
      (await runtime.queryIOThreads())[0]!.loop;
    await until('its sleep', async () => {
      const before = await loop();
      await new Promise((resolve) => setTimeout(resolve, 250));
      const after = await loop();
      // Three looks in that time at least, for wake-ups that were lost: none was.
      return after.passes === before.passes && after.lostWakeups === before.lostWakeups;
    });
    // A kick gives it a turn, no more.
    const before = await loop();
    guest.device.kick(0);
    await until('the turn', async () => (await loop()).passes > before.passes);
    await until('its sleep', async () => {
      const { passes } = await loop();
      await new Promise((resolve) => setTimeout(resolve, 20));
      return (await loop()).passes === passes;
    });
    expect((await loop()).lostWakeups).toBe(0);
  });

  test('a reset by its driver drops what is kept, and begins anew', async () => {
    await using scene = await Scene.start();
    const { disk, queue, runtime, guest } = scene;
    disk.fail('ENOSPC');
    void writeTo(queue, 1, 2, 3);
    await scene.failed(1);
    await guest.reset();
    expect(guest.device.ioStatus).toBe('ok');
    expect([queue.completions, queue.driver.queue.hasUsed()]).toEqual([0, false]);
    // Nothing of before reaches the guest's memory: it is its own again.
    const memory = new Uint8Array(guest.memory);
    const before = memory.slice();
    disk.mend();
    await runtime.continueDevice('vda');
    await runtime.queryIOThreads();
    expect(Buffer.compare(memory, before)).toBe(0);
    await guest.start();
    await guest.queue.write(7, block(7));
    expect(disk.written).toEqual([7]);
  });

  test('it can be moved, drained and moved again, and loses nothing', async () => {
    const spread = { numQueues: 2, iothreadVqMapping: [{ iothread: 'io0' }, { iothread: 'io1' }] };
    await using scene = await Scene.start(spread);
    const { disk, runtime, guest } = scene;
    const [first, second] = guest.queues as [GuestQueue, GuestQueue];
    disk.fail('ENOSPC');
    const sectors = sectorsUpTo(20);
    const writes = [writeTo(first, ...sectors), writeTo(second, ...sectors.map((sector) => sector + 100))];
    await scene.failed(1);
    await runtime.drainDevice('vda');
    await runtime.moveDevice('vda', 'io2');
    expect(guest.device.ioStatus).toBe('nospace');
    expect(first.completions + second.completions).toBe(0);
    await runtime.moveDevice('vda', [{ iothread: 'io1' }, { iothread: 'io2' }]);
    disk.mend();
    await runtime.continueDevice('vda');
    for (const each of writes) expect(await statuses(each)).toEqual(sectors.map(() => VIRTIO_BLK_S_OK));
    expect(disk.written.toSorted((a, b) => a - b)).toEqual([
      ...sectors,
      ...sectors.map((sector) => sector + 100),
    ]);
    expect(disk.written.filter((sector) => sector < 100)).toEqual(sectors);
  });

  test('all its iothreads take nothing', async () => {
    const spread = { numQueues: 2, iothreadVqMapping: [{ iothread: 'io0' }, { iothread: 'io1' }] };
    await using scene = await Scene.start(spread);
    const { disk, runtime, guest } = scene;
    const [first, second] = guest.queues as [GuestQueue, GuestQueue];
    disk.fail('ENOSPC');
    const write = writeTo(first, 1);
    await scene.failed(1);
    const { calls } = disk;
    const read = second.add(VIRTIO_BLK_T_IN, 1, 512);
    second.go();
    for (let i = 0; i < 20; i++) await runtime.queryIOThreads();
    expect(disk.calls).toBe(calls);
    disk.mend();
    await runtime.continueDevice('vda');
    await statuses(write);
    await within(read, 'the read on the other iothread');
  });

  test('its state can not be saved; nor while its memory is bounced', async () => {
    for (const memory of [createMemory(), new ArrayBuffer(4 << 20)]) {
      const bounced = memory instanceof ArrayBuffer;
      await using scene = await Scene.start({ memory: bounced ? { buffer: () => memory } : memory });
      const { disk, queue, runtime, guest } = scene;
      disk.fail('ENOSPC');
      const writes = writeTo(queue, 1, 2);
      await scene.failed(1);
      await expect(within(guest.device.quiesce(), 'a refusal')).rejects.toMatchObject({
        code: 'ERR_DEVICE_PAUSED',
        message: expect.stringContaining("call continueDevice('vda')") as unknown,
      });
      expect(() => guest.device.saveState()).toThrow('quiesce');
      disk.mend();
      await runtime.continueDevice('vda');
      expect(await statuses(writes)).toEqual([0, 0]);
      await guest.device.quiesce();
      guest.device.saveState();
      await guest.device.resume();
      await queue.write(5, block(5));
    }
  });

  test('it can be removed: what is kept fails', async () => {
    await using scene = await Scene.start();
    const { disk, queue, runtime } = scene;
    disk.fail('ENOSPC');
    const writes = writeTo(queue, 1, 2, 3);
    await scene.failed(3);
    await within(runtime.removeDevice('vda'), 'the removal');
    expect(await statuses(writes)).toEqual([1, 1, 1]);
  });

  test('the death of its iothread is like any other', async () => {
    await using scene = await Scene.start();
    const { disk, queue, runtime, guest } = scene;
    disk.fail('ENOSPC');
    void writeTo(queue, 1, 2, 3);
    await scene.failed(1);
    const died = once(runtime, 'iothreadDied');
    disk.die();
    await within(died, 'the death');
    await guest.reset();
    expect(guest.device.ioStatus).toBe('ok');
    disk.mend();
    await runtime.moveDevice('vda', 'io1');
    await guest.start();
    await guest.queue.write(1, block(1));
  });
});

describe('what the policies say', () => {
  test.each([
    { werror: 'report', error: 'ENOSPC', status: VIRTIO_BLK_S_IOERR, action: 'report' },
    { werror: 'enospc', error: 'EIO', status: VIRTIO_BLK_S_IOERR, action: 'report' },
    { werror: 'enospc', error: 'without a code', status: VIRTIO_BLK_S_IOERR, action: 'report' },
    { werror: 'ignore', error: 'EIO', status: VIRTIO_BLK_S_OK, action: 'ignore' },
  ] as const)('a write fails with $error, werror=$werror: $action', async (which) => {
    await using scene = await Scene.start({ werror: which.werror });
    const { disk, queue, runtime } = scene;
    disk.fail(which.error);
    expect(await statuses(writeTo(queue, 1))).toEqual([which.status]);
    await until('the report', () => scene.reports.length > 0);
    const errorCode = which.error === 'without a code' ? 'EIO' : which.error;
    expect(scene.reports[0]).toMatchObject({ action: which.action, errorCode, paused: false });
    expect((await totals(runtime, 'vda')).errors).toBe(1);
    expect(scene.guest.device.ioStatus).toBe('ok');
  });

  test('reads are reported, unless they are to be ignored or to wait', async () => {
    for (const rerror of [undefined, 'ignore', 'stop'] as const) {
      await using scene = await Scene.start(rerror === undefined ? {} : { rerror });
      const { disk, queue, runtime } = scene;
      await queue.write(3, block(9));
      disk.fail('EIO', 'read');
      // What the guest's memory happened to hold is not what the disk has.
      for (let slot = 0; slot < 64; slot++) queue.driver.data(slot).fill(0xee);
      const read = queue.add(VIRTIO_BLK_T_IN, 3, 512);
      queue.go();
      if (rerror === 'stop') {
        await scene.failed(1);
        disk.mend();
        await runtime.continueDevice('vda');
      }
      const { status, data: bytes } = await within(read, 'the read');
      expect(status).toBe(rerror === undefined ? VIRTIO_BLK_S_IOERR : VIRTIO_BLK_S_OK);
      if (rerror !== undefined) expect([...new Set(bytes)]).toEqual([rerror === 'ignore' ? 0 : 9]);
    }
  });

  test('whoever fails all the time is told of once a second', async () => {
    await using scene = await Scene.start({ werror: 'report' });
    const { disk, queue } = scene;
    disk.fail('EIO');
    for (let i = 0; i < 200; i++) await statuses(writeTo(queue, i % 64));
    await until(
      'the last report',
      () => scene.reports.reduce((sum, { suppressed }) => sum + suppressed + 1, 0) === 200,
    );
    expect(scene.reports.length).toBeLessThan(100);
  });

  test('a device that is paused while nobody listens is a warning of the process', async () => {
    await using scene = await Scene.start();
    scene.runtime.removeAllListeners('ioError');
    const warnings: Error[] = [];
    const listener = (warning: Error): void => void warnings.push(warning);
    process.on('warning', listener);
    try {
      scene.disk.fail('ENOSPC');
      void writeTo(scene.queue, 1);
      await until('the warning', () => warnings.some(({ name }) => name === 'IOThreadWarning'));
    } finally {
      process.off('warning', listener);
    }
    expect(warnings.find(({ name }) => name === 'IOThreadWarning')!.message).toBe(
      "device 'vda' is paused, since its disk failed a WRITE with ENOSPC: mend that and call continueDevice('vda')",
    );
  });
});
