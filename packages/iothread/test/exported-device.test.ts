// Devices whose driver is elsewhere: mapped memory, eventfds, queues that start and stop one by one.
import { holdDrive, type HeldDrive } from '@iothreads/backends';
import { VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT } from '@iothreads/core';
import { BlkDriver, GuestAllocator } from '@iothreads/core/testing';
import { type ExportedDevice, type ExportedQueue, IOThreadRuntime } from '@iothreads/iothread';
import {
  clearEventfd,
  closeFd,
  createEventfd,
  createMemfd,
  MemoryMap,
  ReadableWatch,
  signalEventfd,
  viewOf,
} from '@iothreads/linux';
import { afterEach, beforeEach, expect, test } from 'vitest';

const MEMORY = 1 << 20;
const BLOCK = 4096;

/** The driver's side of one queue. */
class Front {
  readonly driver: BlkDriver;
  readonly kickFd = createEventfd();
  readonly callFd = createEventfd();
  readonly errFd = createEventfd();
  readonly queue: ExportedQueue;
  calls = 0;
  readonly #watch: ReadableWatch;
  #wake: (() => void) | undefined;

  constructor(allocator: GuestAllocator, features: bigint, index: number) {
    const addresses = allocator.allocateQueue(64);
    this.driver = new BlkDriver(allocator, { addresses, depth: 16, dataBytes: BLOCK, eventIdx: true });
    const { kickFd, callFd, errFd } = this;
    this.queue = { index, addresses, features, state: { lastAvail: 0, usedIdx: 0 }, kickFd, callFd, errFd };
    this.#watch = new ReadableWatch(callFd, () => {
      clearEventfd(callFd);
      this.calls++;
      this.#wake?.();
    });
  }

  /** One request; waits for its interrupt. @returns its status */
  async request(type: number, sector: number, fill = 0): Promise<{ status: number; data: Uint8Array }> {
    const slot = this.driver.takeSlot();
    if (type === VIRTIO_BLK_T_OUT) this.driver.data(slot).fill(fill);
    this.driver.start(slot, type, sector, BLOCK);
    if (this.driver.publish()) signalEventfd(this.kickFd);
    return this.completion();
  }

  async completion(): Promise<{ status: number; data: Uint8Array }> {
    while (!this.driver.queue.enableInterrupts()) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    const slot = this.driver.takeDone();
    return { status: this.driver.status(slot), data: this.driver.data(slot) };
  }

  close(): void {
    this.#watch.close();
    for (const fd of [this.kickFd, this.callFd, this.errFd]) closeFd(fd);
  }
}

let runtime: IOThreadRuntime;
let drive: HeldDrive;
let device: ExportedDevice;
let map: MemoryMap;
let allocator: GuestAllocator;
let fronts: Front[];

beforeEach(async () => {
  runtime = new IOThreadRuntime();
  await runtime.addIOThread({ id: 'a' });
  await runtime.addIOThread({ id: 'b' });
  drive = await holdDrive({ driver: 'memory', size: 1 << 20 });
  device = await runtime.addExport({
    id: 'vda',
    iothreads: ['a', 'b'],
    drive: drive.prepared,
    numQueues: 2,
  });
  const fd = createMemfd('guest', MEMORY);
  map = new MemoryMap(fd, MEMORY);
  closeFd(fd);
  const guestAddress = 0x1_0000_0000;
  await device.setMemory([{ guestAddress, hostAddress: map.address, size: MEMORY }]);
  allocator = new GuestAllocator([{ guestAddress, buffer: viewOf(map.address, MEMORY) }]);
  fronts = [0, 1].map((index) => new Front(allocator, device.offeredFeatures, index));
});

afterEach(async () => {
  await runtime.close();
  await drive.close();
  for (const front of fronts) front.close();
  map.unmap();
});

test('queues on two iothreads, kicks and interrupts through eventfds, memory above 4 GiB', async () => {
  await device.startQueues(fronts.map(({ queue }) => queue));
  for (let i = 0; i < 20; i++) {
    const front = fronts[i % 2]!;
    expect((await front.request(VIRTIO_BLK_T_OUT, i * 8, i + 1)).status).toBe(0);
    const other = fronts[(i + 1) % 2]!;
    const { status, data } = await other.request(VIRTIO_BLK_T_IN, i * 8);
    expect(status).toBe(0);
    expect(data.every((byte) => byte === i + 1)).toBe(true);
  }
  expect(fronts.every(({ calls }) => calls > 0)).toBe(true);
});

test('a queue stops where it stands and goes on from there; the other never notices', async () => {
  const [one, two] = fronts as [Front, Front];
  await device.startQueues([one.queue, two.queue]);
  for (let i = 0; i < 5; i++) await one.request(VIRTIO_BLK_T_OUT, 8, i);
  const positions = await device.stopQueues([0]);
  expect([...positions]).toEqual([[0, { lastAvail: 5, usedIdx: 5 }]]);
  // Kicked while it is stopped: found when it starts again.
  const waiting = one.request(VIRTIO_BLK_T_IN, 8);
  expect((await two.request(VIRTIO_BLK_T_IN, 8)).data[0]).toBe(4);
  await device.startQueues([{ ...one.queue, state: positions.get(0)! }]);
  expect((await waiting).data[0]).toBe(4);
  expect(await device.stopQueues([0, 1, 0])).toEqual(
    new Map([
      [0, { lastAvail: 6, usedIdx: 6 }],
      [1, { lastAvail: 1, usedIdx: 1 }],
    ]),
  );
  expect(await device.stopQueues([0])).toEqual(new Map());
});

test('another call eventfd, or none, while the queue runs', async () => {
  const front = fronts[0]!;
  await device.startQueues([front.queue]);
  await device.setCall(0, -1);
  front.driver.start(front.driver.takeSlot(), VIRTIO_BLK_T_IN, 0, BLOCK);
  if (front.driver.publish()) signalEventfd(front.kickFd);
  while (!front.driver.queue.hasUsed()) await new Promise((resolve) => setTimeout(resolve, 1));
  front.driver.takeDone();
  expect(front.calls).toBe(0);
  await device.setCall(0, front.callFd);
  // A completion that is there before anybody sleeps needs no call.
  while (front.calls === 0) await front.request(VIRTIO_BLK_T_IN, 0);
});

test('a broken ring signals its error eventfd, stops, and can be started anew', async () => {
  const [front, other] = fronts as [Front, Front];
  const reports: Error[] = [];
  runtime.on('deviceError', (_, error) => reports.push(error));
  await device.startQueues([front.queue, other.queue]);
  const broken = new Promise<void>((resolve) => {
    const watch = new ReadableWatch(front.errFd, () => {
      watch.close();
      resolve();
    });
  });
  front.driver.queue.makeAvailable(9999);
  front.driver.queue.publish();
  signalEventfd(front.kickFd);
  await broken;
  expect((await other.request(VIRTIO_BLK_T_IN, 0)).status).toBe(0);
  while (reports.length === 0) await new Promise((resolve) => setTimeout(resolve, 1));
  expect(reports[0]).toMatchObject({ code: 'ERR_RING_BROKEN' });
  await device.stopQueues([0]);
  const fresh = new Front(allocator, device.offeredFeatures, 0);
  fronts.push(fresh);
  await device.startQueues([fresh.queue]);
  expect((await fresh.request(VIRTIO_BLK_T_IN, 0)).status).toBe(0);
});

test('a ring outside memory is refused, and nothing of it is served', async () => {
  const { queue } = fronts[0]!;
  const wrong = { ...queue, addresses: { ...queue.addresses, usedRing: 0x2_0000_0000 } };
  await expect(device.startQueues([fronts[1]!.queue, wrong])).rejects.toMatchObject({
    code: 'ERR_QUEUE_ADDRESS',
  });
  await device.startQueues([queue, fronts[1]!.queue]);
  expect((await fronts[0]!.request(VIRTIO_BLK_T_IN, 0)).status).toBe(0);
});

test('memory changes only while nothing runs', async () => {
  await device.startQueues([fronts[0]!.queue]);
  await expect(device.setMemory([])).rejects.toMatchObject({ code: 'ERR_CONFIG' });
});

test('moves while its front end goes on', async () => {
  await device.startQueues(fronts.map(({ queue }) => queue));
  for (let i = 0; i < 30; i++) {
    const requests = fronts.map((front) => front.request(VIRTIO_BLK_T_OUT, i * 8, i));
    await runtime.moveDevice('vda', i % 2 === 0 ? 'a' : [{ iothread: 'b' }, { iothread: 'a' }]);
    for (const request of requests) expect((await request).status).toBe(0);
  }
  const [iothreads] = await runtime.queryIOThreads();
  expect(iothreads!.devices).toEqual(['vda']);
});

test('a device that was resized holds requests to its new size', async () => {
  const null2 = await holdDrive({ driver: 'null', size: 1 << 20 });
  const small = await runtime.addExport({ id: 'vdb', iothreads: ['a'], drive: null2.prepared });
  await small.setMemory([{ guestAddress: 0x1_0000_0000, hostAddress: map.address, size: MEMORY }]);
  const front = fronts[0]!;
  await small.startQueues([front.queue]);
  expect((await front.request(VIRTIO_BLK_T_IN, 2048)).status).toBe(1);
  const { prepared } = null2;
  await small.resize({ ...prepared, geometry: { ...prepared.geometry, sizeBytes: 2 << 20 } });
  expect((await front.request(VIRTIO_BLK_T_IN, 2048)).status).toBe(0);
  const capacity = new Uint8Array(8);
  small.config.read(0, capacity);
  expect(new DataView(capacity.buffer).getUint32(0, true)).toBe(4096);
});
