import {
  type Activation,
  BLK_CONFIG_BYTES,
  featureSet,
  GuestMemory,
  MAX_RANGE_SECTORS,
  MAX_RANGES,
  VIRTIO_BLK_F_BLK_SIZE,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_F_DISCARD,
  VIRTIO_BLK_F_FLUSH,
  VIRTIO_BLK_F_MQ,
  VIRTIO_BLK_F_RO,
  VIRTIO_BLK_F_SEG_MAX,
  VIRTIO_BLK_F_TOPOLOGY,
  VIRTIO_BLK_F_WRITE_ZEROES,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  VIRTIO_F_VERSION_1,
  VIRTIO_STATUS_ACKNOWLEDGE,
  VIRTIO_STATUS_DRIVER,
  VIRTIO_STATUS_DRIVER_OK,
  VIRTIO_STATUS_FAILED,
  VIRTIO_STATUS_FEATURES_OK,
  VIRTIO_STATUS_NEEDS_RESET,
  VirtioBlkDevice,
  type VirtioBlkDeviceOptions,
  type VirtioBlkState,
  VirtioError,
  type VirtqueueAddresses,
} from '@iothreads/core';
import { GuestAllocator, startDevice } from '@iothreads/core/testing';
import { describe, expect, test } from 'vitest';

const ACKNOWLEDGED = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_DRIVER;
const NEGOTIATED = ACKNOWLEDGED | VIRTIO_STATUS_FEATURES_OK;
const RUNNING = NEGOTIATED | VIRTIO_STATUS_DRIVER_OK;
const VERSION_1 = featureSet(VIRTIO_F_VERSION_1);
const WRITEBACK = 32;

function setUp(options: Partial<VirtioBlkDeviceOptions> = {}) {
  const allocator = new GuestAllocator([{ guestAddress: 0, buffer: new ArrayBuffer(0x8000) }]);
  const events: (Activation | 'reset' | 'refused' | boolean)[] = [];
  const device = new VirtioBlkDevice(
    {
      capacitySectors: 2 ** 33 + 5,
      numQueues: 1,
      queueSize: 256,
      logicalBlockSize: 512,
      discard: false,
      writeZeroes: false,
      readOnly: false,
      ...options,
    },
    allocator.memory,
    {
      activate: (activation) => events.push(activation),
      reset: () => events.push('reset'),
      writebackChanged: (writeback) => events.push(writeback),
      startRefused: () => events.push('refused'),
    },
  );
  const queues: VirtqueueAddresses[] = Array.from({ length: device.numQueues }, () =>
    allocator.allocateQueue(16),
  );
  return { device, events, queues };
}

/** Takes a device to FEATURES_OK with these features. */
function negotiate(device: VirtioBlkDevice, features: bigint): void {
  device.writeStatus(VIRTIO_STATUS_ACKNOWLEDGE);
  device.writeStatus(ACKNOWLEDGED);
  device.writeDriverFeatures(features);
  device.writeStatus(NEGOTIATED);
}

describe('features', () => {
  const always = featureSet(
    VIRTIO_F_VERSION_1,
    VIRTIO_F_INDIRECT_DESC,
    VIRTIO_F_EVENT_IDX,
    VIRTIO_BLK_F_SEG_MAX,
    VIRTIO_BLK_F_BLK_SIZE,
    VIRTIO_BLK_F_TOPOLOGY,
    VIRTIO_BLK_F_FLUSH,
    VIRTIO_BLK_F_CONFIG_WCE,
  );

  test.each<[what: string, options: Partial<VirtioBlkDeviceOptions>, more: number[]]>([
    ['by default', {}, []],
    ['read-only', { readOnly: true }, [VIRTIO_BLK_F_RO]],
    ['with queues', { numQueues: 2 }, [VIRTIO_BLK_F_MQ]],
    ['with discard', { discard: true }, [VIRTIO_BLK_F_DISCARD]],
    ['with write-zeroes', { writeZeroes: true }, [VIRTIO_BLK_F_WRITE_ZEROES]],
    [
      'with everything',
      { readOnly: true, numQueues: 4, discard: true, writeZeroes: true },
      [VIRTIO_BLK_F_RO, VIRTIO_BLK_F_MQ, VIRTIO_BLK_F_DISCARD, VIRTIO_BLK_F_WRITE_ZEROES],
    ],
  ])('offered %s', (_, options, more) => {
    expect(setUp(options).device.offeredFeatures).toBe(always | featureSet(...more));
  });

  test('that were not offered make FEATURES_OK fail', () => {
    const { device } = setUp();
    negotiate(device, VERSION_1 | featureSet(VIRTIO_BLK_F_DISCARD));
    expect(device.status).toBe(ACKNOWLEDGED);
    expect(device.refusal).toBe('features 0x2000 were not offered');
    // The driver may try again with less.
    device.writeDriverFeatures(VERSION_1);
    device.writeStatus(NEGOTIATED);
    expect(device.status).toBe(NEGOTIATED);
  });

  test('without VERSION_1 make FEATURES_OK fail', () => {
    const { device } = setUp();
    negotiate(device, featureSet(VIRTIO_BLK_F_FLUSH));
    expect(device.status).toBe(ACKNOWLEDGED);
    expect(device.refusal).toMatch(/VERSION_1/);
  });

  test('are written after DRIVER and before FEATURES_OK', () => {
    const { device } = setUp();
    device.writeDriverFeatures(VERSION_1);
    expect(device.driverFeatures).toBe(0n);
    negotiate(device, VERSION_1);
    device.writeDriverFeatures(VERSION_1 | featureSet(VIRTIO_BLK_F_FLUSH));
    expect(device.driverFeatures).toBe(VERSION_1);
    expect(device.refusal).toMatch(/features can only be written/);
  });
});

describe('the configuration space', () => {
  const read = (device: VirtioBlkDevice, offset: number, byteLength: number): number => {
    const bytes = new Uint8Array(8);
    device.config.read(offset, bytes.subarray(0, byteLength));
    return Number(new DataView(bytes.buffer).getBigUint64(0, true));
  };

  test.each<[what: string, offset: number, byteLength: number, value: number]>([
    ['capacity', 0, 8, 2 ** 33 + 5],
    ['size_max, not offered', 8, 4, 0],
    ['seg_max', 12, 4, 254],
    ['geometry, not offered', 16, 4, 0],
    ['blk_size', 20, 4, 2048],
    ['physical_block_exp', 24, 1, 1],
    ['alignment_offset', 25, 1, 0],
    ['min_io_size', 26, 2, 2],
    ['opt_io_size', 28, 4, 0],
    ['writeback', WRITEBACK, 1, 1],
    ['unused', 33, 1, 0],
    ['num_queues', 34, 2, 3],
    ['max_discard_sectors', 36, 4, MAX_RANGE_SECTORS],
    ['max_discard_seg', 40, 4, MAX_RANGES],
    ['discard_sector_alignment', 44, 4, 4],
    ['max_write_zeroes_sectors', 48, 4, MAX_RANGE_SECTORS],
    ['max_write_zeroes_seg', 52, 4, MAX_RANGES],
    ['write_zeroes_may_unmap', 56, 1, 1],
    ['unused at the end', 57, 3, 0],
  ])('%s at %i', (_, offset, byteLength, value) => {
    const { device } = setUp({ numQueues: 3, discard: true, writeZeroes: true, logicalBlockSize: 2048 });
    expect(read(device, offset, byteLength)).toBe(value);
  });

  test('has nothing to say on what is not offered', () => {
    const bytes = new Uint8Array(BLK_CONFIG_BYTES);
    setUp().device.config.read(0, bytes);
    expect([...bytes.subarray(36)]).toEqual(Array.from({ length: 24 }, () => 0));
  });

  test.each([
    [2, 1],
    [3, 1],
    [16, 14],
    [1024, 1022],
    [2048, 1024],
    [32768, 1024],
  ])('seg_max of queues of %i is %i', (queueSize, segMax) => {
    expect(read(setUp({ queueSize }).device, 12, 4)).toBe(segMax);
  });

  test('follows a capacity that changes', () => {
    const { device } = setUp();
    device.config.capacitySectors = 2 ** 44;
    expect(read(device, 0, 8)).toBe(2 ** 44);
  });

  test.each([
    [59, 4],
    [60, 8],
    [4096, 8],
    [2 ** 32 - 1, 4],
  ])('reads as 0 beyond its end: %i, %i bytes', (offset, byteLength) => {
    const bytes = new Uint8Array(byteLength + 1).fill(0xaa);
    setUp().device.config.read(offset, bytes.subarray(0, byteLength));
    expect([...bytes]).toEqual([...Array.from({ length: byteLength }, () => 0), 0xaa]);
  });

  test('only writeback can be written, at any width and place', () => {
    const { device, queues } = setUp({ discard: true, writeZeroes: true, numQueues: 2 });
    startDevice(device, queues);
    const before = new Uint8Array(BLK_CONFIG_BYTES);
    device.config.read(0, before);
    for (let offset = 0; offset < BLK_CONFIG_BYTES + 8; offset++) {
      for (const byteLength of [1, 2, 4, 8, 64]) {
        device.writeConfig(offset, new Uint8Array(byteLength).fill(0xfe));
        const after = new Uint8Array(BLK_CONFIG_BYTES);
        device.config.read(0, after);
        const covered = offset <= WRITEBACK && WRITEBACK < offset + byteLength;
        expect(after[WRITEBACK]).toBe(covered ? 0 : 1);
        after[WRITEBACK] = 1;
        expect(after).toEqual(before);
        device.writeConfig(WRITEBACK, Uint8Array.of(1));
      }
    }
  });

  test('a switch of the cache is told to whoever serves the queues, once and only then', () => {
    const { device, events, queues } = setUp();
    startDevice(device, queues);
    events.length = 0;
    device.writeConfig(WRITEBACK, Uint8Array.of(1));
    device.writeConfig(WRITEBACK, Uint8Array.of(0));
    device.writeConfig(WRITEBACK, Uint8Array.of(0));
    device.writeConfig(WRITEBACK - 2, Uint8Array.of(9, 9, 1, 0));
    expect(events).toEqual([false, true]);
  });

  test('a switch before DRIVER_OK is told by the activation', () => {
    const { device, events, queues } = setUp();
    negotiate(device, device.offeredFeatures);
    device.writeConfig(WRITEBACK, Uint8Array.of(0));
    device.setQueue(0, queues[0]!);
    device.writeStatus(RUNNING);
    expect(events).toEqual([expect.objectContaining({ writeback: false })]);
  });

  test('the cache can not be switched where that was not negotiated', () => {
    const { device, events, queues } = setUp();
    startDevice(device, queues, VERSION_1 | featureSet(VIRTIO_BLK_F_FLUSH));
    device.writeConfig(WRITEBACK, Uint8Array.of(0));
    expect(device.config.writeback).toBe(true);
    expect(events).toHaveLength(1);
  });

  test.each([511, 513, 0, 8192, NaN])('a logical block of %i bytes is refused', (logicalBlockSize) => {
    expect(() => setUp({ logicalBlockSize })).toThrow(
      expect.objectContaining({ code: 'ERR_DEVICE_OPTION', constructor: VirtioError }),
    );
  });
});

describe('the cache', () => {
  test.each<[what: string, features: bigint, writeback: boolean]>([
    ['write-back when the driver flushes', featureSet(VIRTIO_BLK_F_FLUSH), true],
    [
      'write-back when it flushes and switches',
      featureSet(VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_CONFIG_WCE),
      true,
    ],
    ['write-through when it never flushes', 0n, false],
    ['write-through when it never flushes but switches', featureSet(VIRTIO_BLK_F_CONFIG_WCE), false],
  ])('starts %s', (_, features, writeback) => {
    const { device, events, queues } = setUp();
    startDevice(device, queues, VERSION_1 | features);
    expect(events).toEqual([{ features: VERSION_1 | features, queues, writeback }]);
  });

  test('is write-back again after a reset', () => {
    const { device, queues } = setUp();
    startDevice(device, queues, VERSION_1);
    expect(device.config.writeback).toBe(false);
    device.writeStatus(0);
    device.resetDone();
    expect(device.config.writeback).toBe(true);
  });
});

describe('status', () => {
  test('goes step by step to DRIVER_OK, which activates the queues that were set up', () => {
    const { device, events, queues } = setUp({ numQueues: 3 });
    expect(device.status).toBe(0);
    negotiate(device, VERSION_1);
    device.setQueue(2, queues[2]!);
    device.setQueue(0, queues[0]!);
    expect(events).toEqual([]);
    device.writeStatus(RUNNING);
    expect(device.status).toBe(RUNNING);
    expect(events).toEqual([
      { features: VERSION_1, queues: [queues[0], undefined, queues[2]], writeback: false },
    ]);
    expect(device.refusal).toBeUndefined();
    // Written once more it activates nothing.
    device.writeStatus(RUNNING);
    expect(events).toHaveLength(1);
  });

  test.each([
    VIRTIO_STATUS_ACKNOWLEDGE,
    VIRTIO_STATUS_DRIVER,
    VIRTIO_STATUS_FEATURES_OK,
    VIRTIO_STATUS_DRIVER_OK,
    VIRTIO_STATUS_FAILED,
  ])('bit %i is cleared by a reset only', (bit) => {
    const { device, queues } = setUp();
    startDevice(device, queues);
    device.writeStatus(RUNNING | VIRTIO_STATUS_FAILED);
    device.writeStatus((RUNNING | VIRTIO_STATUS_FAILED) & ~bit);
    expect(device.status).toBe(RUNNING | VIRTIO_STATUS_FAILED);
    expect(device.refusal).toMatch(/only be cleared by a reset/);
    device.writeStatus(0);
    device.resetDone();
    expect(device.status).toBe(0);
  });

  test('a write that clears one bit and sets another sets nothing', () => {
    const { device, queues } = setUp();
    negotiate(device, VERSION_1);
    device.setQueue(0, queues[0]!);
    device.writeStatus(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK);
    expect(device.status).toBe(NEGOTIATED);
  });

  test('FEATURES_OK needs DRIVER', () => {
    const { device } = setUp();
    device.writeStatus(VIRTIO_STATUS_ACKNOWLEDGE);
    device.writeStatus(VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_FEATURES_OK);
    expect(device.status).toBe(VIRTIO_STATUS_ACKNOWLEDGE);
    expect(device.refusal).toMatch(/before DRIVER/);
  });

  test('DRIVER_OK needs FEATURES_OK', () => {
    const { device, events } = setUp();
    device.writeStatus(ACKNOWLEDGED);
    device.writeStatus(ACKNOWLEDGED | VIRTIO_STATUS_DRIVER_OK);
    expect(device.status).toBe(ACKNOWLEDGED);
    expect(device.refusal).toBe('DRIVER_OK before FEATURES_OK');
    expect(events).toEqual([]);
  });

  test('NEEDS_RESET and unknown bits are not the driver’s to set, and a driver need not write them back', () => {
    const { device, queues } = setUp();
    device.writeStatus(0xff & ~(VIRTIO_STATUS_FEATURES_OK | VIRTIO_STATUS_DRIVER_OK));
    expect(device.status).toBe(ACKNOWLEDGED | VIRTIO_STATUS_FAILED);
    device.writeStatus(0);
    startDevice(device, queues);
    device.setNeedsReset();
    expect(device.status).toBe(RUNNING | VIRTIO_STATUS_NEEDS_RESET);
    device.writeStatus(RUNNING);
    expect(device.status).toBe(RUNNING | VIRTIO_STATUS_NEEDS_RESET);
  });

  test('a queue is set up between FEATURES_OK and DRIVER_OK, and only one that there is', () => {
    const { device, events, queues } = setUp();
    device.setQueue(0, queues[0]!);
    expect(device.refusal).toMatch(/queue 0/);
    negotiate(device, VERSION_1);
    device.setQueue(1, queues[0]!);
    expect(device.refusal).toMatch(/queue 1/);
    device.writeStatus(RUNNING);
    expect(events).toEqual([expect.objectContaining({ queues: [undefined] })]);
    device.setQueue(0, queues[0]!);
    expect(device.refusal).toMatch(/queue 0/);
  });

  test('a bad queue needs a reset and says why', () => {
    const { device, events, queues } = setUp({ numQueues: 2 });
    negotiate(device, VERSION_1);
    device.setQueue(0, queues[0]!);
    device.setQueue(1, { ...queues[1]!, usedRing: 0x8000 });
    device.writeStatus(RUNNING);
    expect(device.status).toBe(RUNNING | VIRTIO_STATUS_NEEDS_RESET);
    expect(device.refusal).toBe(
      'queue 1: used ring of 134 bytes at 32768 must be aligned to 4 and lie in one memory region',
    );
    expect(events).toEqual(['refused']);
    // Nobody serves it, so nobody has to let go: the reset is complete at once.
    device.writeStatus(0);
    expect(device.status).toBe(0);
    expect(events).toEqual(['refused']);
    startDevice(device, queues, VERSION_1);
    expect(events).toHaveLength(2);
  });

  test('a queue larger than the device allows is a bad queue', () => {
    const { device, queues } = setUp({ queueSize: 8 });
    expect(() => startDevice(device, queues)).toThrow('queue size must be a power of two, 1 to 8, got 16');
  });
});

describe('reset', () => {
  test('reads as the old status until no request is in flight', () => {
    const { device, events, queues } = setUp();
    startDevice(device, queues);
    device.writeStatus(0);
    expect(events.slice(1)).toEqual(['reset']);
    expect(device.status).toBe(RUNNING);
    // What the driver does meanwhile has no effect, a second reset included.
    device.writeStatus(0);
    device.writeStatus(RUNNING | VIRTIO_STATUS_FAILED);
    expect(device.status).toBe(RUNNING);
    expect(device.refusal).toMatch(/still resetting/);
    device.setNeedsReset();
    expect(events.slice(1)).toEqual(['reset']);
    device.resetDone();
    expect(device.status).toBe(0);
    expect(device.driverFeatures).toBe(0n);
    // Nobody serves it any more: another reset is complete at once.
    device.writeStatus(0);
    expect(device.status).toBe(0);
    expect(events.slice(1)).toEqual(['reset']);
  });

  test('forgets the queues', () => {
    const { device, events, queues } = setUp();
    startDevice(device, queues, VERSION_1);
    device.writeStatus(0);
    device.resetDone();
    startDevice(device, [], VERSION_1);
    expect(events.at(-1)).toEqual({ features: VERSION_1, queues: [undefined], writeback: false });
  });

  test('before DRIVER_OK is complete at once', () => {
    const { device, events } = setUp();
    negotiate(device, VERSION_1);
    device.writeStatus(0);
    expect(device.status).toBe(0);
    expect(device.driverFeatures).toBe(0n);
    expect(events).toEqual([]);
  });

  test('leads out of a queue that broke, which the status tells when it is looked at', () => {
    const memory = new GuestMemory([{ guestAddress: 0, buffer: new ArrayBuffer(64) }]);
    let broken = true;
    const device: VirtioBlkDevice = new VirtioBlkDevice(setUpOptions(), memory, {
      activate: () => {},
      reset: () => {},
      writebackChanged: () => {},
      startRefused: () => {},
      broken: () => broken,
    });
    // Nobody is asked before the queues are served.
    expect(device.status).toBe(0);
    broken = false;
    startDevice(device, []);
    expect(device.status).toBe(RUNNING);
    broken = true;
    expect(device.status).toBe(RUNNING | VIRTIO_STATUS_NEEDS_RESET);
    broken = false;
    expect(device.status).toBe(RUNNING | VIRTIO_STATUS_NEEDS_RESET);
    device.writeStatus(0);
    device.resetDone();
    broken = true;
    expect(device.status).toBe(0);
  });

  test('can be answered from within the event', () => {
    const memory = new GuestMemory([{ guestAddress: 0, buffer: new ArrayBuffer(64) }]);
    const options = setUpOptions();
    const device: VirtioBlkDevice = new VirtioBlkDevice(options, memory, {
      activate: () => {},
      reset: () => device.resetDone(),
      writebackChanged: () => {},
      startRefused: () => {},
    });
    startDevice(device, []);
    device.writeStatus(0);
    expect(device.status).toBe(0);
    startDevice(device, []);
    expect(device.status).toBe(RUNNING);
  });
});

function setUpOptions(): VirtioBlkDeviceOptions {
  return {
    capacitySectors: 8,
    numQueues: 1,
    queueSize: 16,
    logicalBlockSize: 512,
    discard: false,
    writeZeroes: false,
    readOnly: false,
  };
}

describe('a saved state', () => {
  test('takes another device of its kind to where the first one was, and starts it', () => {
    const first = setUp({ numQueues: 2 });
    startDevice(first.device, [first.queues[0]!]);
    first.device.writeConfig(WRITEBACK, Uint8Array.of(0));
    first.device.resize(77);
    const second = setUp({ numQueues: 2 });
    second.device.restoreState(JSON.parse(JSON.stringify(first.device.saveState())) as VirtioBlkState);
    expect(second.device.saveState()).toEqual(first.device.saveState());
    expect(second.device.status).toBe(RUNNING);
    expect(second.device.configGeneration).toBe(1);
    expect(second.events).toEqual([
      { features: first.device.driverFeatures, queues: [first.queues[0], undefined], writeback: false },
    ]);
  });

  test('of a device that its driver is still setting up does not start anything', () => {
    const first = setUp();
    negotiate(first.device, VERSION_1);
    first.device.setQueue(0, first.queues[0]!);
    const second = setUp();
    second.device.restoreState(first.device.saveState());
    expect(second.events).toEqual([]);
    second.device.writeStatus(RUNNING);
    expect(second.events).toHaveLength(1);
  });

  test.each([1, 2 ** 60])(
    'of a device whose driver gave a queue the address %d can be restored as well',
    (address) => {
      const first = setUp();
      negotiate(first.device, VERSION_1);
      first.device.setQueue(0, { ...first.queues[0]!, usedRing: address });
      first.device.writeStatus(RUNNING);
      const second = setUp();
      second.device.restoreState(JSON.parse(JSON.stringify(first.device.saveState())) as VirtioBlkState);
      expect(second.device.status).toBe(RUNNING | VIRTIO_STATUS_NEEDS_RESET);
      expect(second.events).toEqual([]);
      second.device.writeStatus(0);
      startDevice(second.device, second.queues);
      expect(second.events).toHaveLength(1);
    },
  );

  const good = (): VirtioBlkState => {
    const { device, queues } = setUp();
    startDevice(device, queues);
    return device.saveState();
  };
  test.each<[string, unknown]>([
    ['nothing', null],
    ['another version', { ...good(), version: 2 }],
    ['a status beyond its byte', { ...good(), status: 256 }],
    ['features that are no number', { ...good(), driverFeatures: 'all' }],
    ['features that the device lacks', { ...good(), driverFeatures: '0x8000000000000000' }],
    ['another number of queues', { ...good(), numQueues: 2 }],
    ['more queues than it says', { ...good(), queues: [null, null] }],
    ['a queue that is none', { ...good(), queues: [7] }],
    ['a queue outside memory', { ...good(), queues: [{ ...good().queues[0]!, usedRing: 2 ** 40 }] }],
    ['a queue whose size is no power of two', { ...good(), queues: [{ ...good().queues[0]!, size: 3 }] }],
    ['writeback that is a number', { ...good(), writeback: 1 }],
  ])('with %s is refused, and changes nothing', (_, state) => {
    const { device, events, queues } = setUp();
    const before = device.saveState();
    expect(() => {
      device.restoreState(state as VirtioBlkState);
    }).toThrow(VirtioError);
    expect(device.saveState()).toEqual(before);
    startDevice(device, queues);
    expect(events).toHaveLength(1);
  });

  test('is for a device that no driver has touched', () => {
    const { device, queues } = setUp();
    startDevice(device, queues);
    expect(() => {
      device.restoreState(good());
    }).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
  });
});
