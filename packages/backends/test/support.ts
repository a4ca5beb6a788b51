import {
  BlockOperation,
  BlockRequest,
  GuestMemory,
  type BlockStatus,
  type MemoryRegionOptions,
  type RequestOwner,
} from '@iothreads/core';
import {
  BlockDriverError,
  DRIVER_ERROR_CHANNEL,
  holdDrive,
  openDrive,
  type BlockDriver,
  type DriveOptions,
  type DriverErrorMessage,
  type HeldDrive,
  type PreparedDrive,
} from '@iothreads/backends';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, expect } from 'vitest';

/** Where the two regions of the guest's memory meet: contiguous for the guest, two buffers for the host. */
export const REGION_BORDER = 0x40_0000;
const MEMORY_END = 0x80_0000;

/** Guest memory of two shared regions, and plain access to it. */
class TestMemory {
  readonly guest: GuestMemory;

  constructor() {
    const regions: MemoryRegionOptions[] = [
      { guestAddress: 0, buffer: new SharedArrayBuffer(REGION_BORDER) },
      { guestAddress: REGION_BORDER, buffer: new SharedArrayBuffer(MEMORY_END - REGION_BORDER) },
    ];
    this.guest = new GuestMemory(regions);
  }

  write(address: number, bytes: Uint8Array): void {
    this.#each(address, bytes.length, (run, done) => {
      run.set(bytes.subarray(done, done + run.length));
    });
  }

  read(address: number, byteLength: number): Uint8Array {
    const bytes = new Uint8Array(byteLength);
    this.#each(address, byteLength, (run, done) => {
      bytes.set(run, done);
    });
    return bytes;
  }

  /** Calls `visit` for the part of a range that lies in each region. */
  #each(address: number, byteLength: number, visit: (run: Uint8Array, done: number) => void): void {
    for (let done = 0; done < byteLength;) {
      const region = this.guest.regionAt(address + done)!;
      const at = address + done - region.guestAddress;
      const run = region.bytes.subarray(at, Math.min(region.size, at + byteLength - done));
      visit(run, done);
      done += run.length;
    }
  }
}

/** A guest's buffer: address and bytes. */
export type Segment = readonly [address: number, byteLength: number];

/** 1500 buffers of one sector with gaps between them, on both sides of the border between two regions. */
export const scattered: readonly Segment[] = Array.from({ length: 1500 }, (_, i): Segment => [
  REGION_BORDER - 700 * 1024 + i * 1024 + 512,
  512,
]);

/** A device of which only the completion side is there. */
class TestOwner implements RequestOwner {
  readonly done: { readonly request: BlockRequest; readonly status: BlockStatus }[] = [];
  readonly twice: BlockRequest[] = [];
  readonly #memory: TestMemory;
  #tags = 0;
  #waiting: { readonly count: number; readonly resolve: () => void } | undefined;

  constructor(memory: TestMemory) {
    this.#memory = memory;
  }

  requestDone(request: BlockRequest, status: BlockStatus): void {
    this.done.push({ request, status });
    if (this.#waiting !== undefined && this.done.length >= this.#waiting.count) this.#waiting.resolve();
  }

  completedTwice(request: BlockRequest): void {
    this.twice.push(request);
  }

  /** Resolves once `count` requests have completed in all; the test's own timeout bounds it. */
  async completions(count: number): Promise<void> {
    if (this.done.length >= count) return;
    await new Promise<void>((resolve) => {
      this.#waiting = { count, resolve };
    });
  }

  transfer(operation: BlockOperation, position: number, segments: readonly Segment[]): BlockRequest {
    const request = this.#request(operation);
    request.position = position;
    for (const [address, byteLength] of segments) {
      expect(this.#memory.guest.translate(0, address, byteLength, request.data)).toBe(true);
    }
    return request;
  }

  ranges(
    operation: BlockOperation,
    ...ranges: readonly (readonly [position: number, byteLength: number, unmap?: boolean])[]
  ): BlockRequest {
    const request = this.#request(operation);
    request.rangeCount = ranges.length;
    for (const [position, byteLength, unmap = false] of ranges) {
      request.rangePositions.push(position);
      request.rangeLengths.push(byteLength);
      request.rangeUnmaps.push(unmap ? 1 : 0);
    }
    return request;
  }

  flush(): BlockRequest {
    return this.#request(BlockOperation.FLUSH);
  }

  #request(operation: BlockOperation): BlockRequest {
    const request = new BlockRequest();
    request.operation = operation;
    request.tag = ++this.#tags;
    request.owner = this;
    request.pending = true;
    return request;
  }
}

/** How a request is to be done. */
export type Mode = 'sync' | 'async';

/** An open disk with memory and a device side. */
export class TestDisk {
  readonly memory = new TestMemory();
  readonly owner = new TestOwner(this.memory);
  readonly driver: BlockDriver;
  /** How often the driver wanted a turn. */
  attended = 0;

  constructor(driver: BlockDriver) {
    this.driver = driver;
  }

  /** Opens a drive that is held until the test ends. */
  static async open(drive: DriveOptions, readOnly = false, nowNs?: () => number): Promise<TestDisk> {
    const { prepared } = await hold(drive, readOnly);
    return TestDisk.openPrepared(prepared, nowNs);
  }

  static async openPrepared(prepared: PreparedDrive, nowNs: () => number = () => 0): Promise<TestDisk> {
    const attend = (): void => {
      disk.attended++;
      driver.poll?.(nowNs());
      disk.listen();
    };
    const driver = await openDrive(structuredClone(prepared), { nowNs, attend });
    const disk = new TestDisk(driver);
    return disk;
  }

  /** What a loop does before it sleeps: collects what is complete, and wants to hear of the rest. */
  listen(): void {
    while (this.driver.arm?.() === true) this.driver.poll!(0);
  }

  /** Submits a batch, and resolves once as many have completed as there were before and are in it. */
  async runBatch(requests: readonly BlockRequest[]): Promise<void> {
    const before = this.owner.done.length;
    this.driver.submit(requests, requests.length);
    this.listen();
    await this.owner.completions(before + requests.length);
  }

  async run(mode: Mode, request: BlockRequest): Promise<BlockStatus> {
    if (mode === 'sync') return this.driver.executeSync!(request);
    await this.runBatch([request]);
    expect(this.owner.done.at(-1)!.request).toBe(request);
    return this.owner.done.at(-1)!.status;
  }
}

/** Bytes that tell their place: no two neighbouring sectors are alike. */
export function pattern(byteLength: number, seed = 1): Uint8Array {
  const bytes = new Uint8Array(byteLength);
  for (let i = 0; i < byteLength; i++) bytes[i] = (i * 31 + (i >> 9) * 7 + (i >> 17) * 3 + seed) & 0xff;
  return bytes;
}

/** toEqual on a megabyte takes seconds; this compares at once and still says where they differ. */
export function expectBytes(actual: Uint8Array, expected: Uint8Array): void {
  if (Buffer.compare(actual, expected) === 0) return;
  expect(actual.length).toBe(expected.length);
  expect(actual.findIndex((byte, i) => byte !== expected[i])).toBe(-1);
}

const cleanups: (() => void | Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** Runs when the test has ended, last come first. */
export function onTestEnd(cleanup: () => void | Promise<void>): void {
  cleanups.push(cleanup);
}

/** Holds a drive until the test ends. */
export async function hold(drive: DriveOptions, readOnly = false): Promise<HeldDrive> {
  const held = await holdDrive(drive, readOnly);
  cleanups.push(() => held.close());
  return held;
}

/** A directory that is gone after the test. */
export function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'iothreads-backends-'));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** Collects what drivers say on the error channel until the test ends. */
export function driverErrors(): DriverErrorMessage[] {
  const messages: DriverErrorMessage[] = [];
  const listener = (message: unknown): void => {
    messages.push(message as DriverErrorMessage);
  };
  subscribe(DRIVER_ERROR_CHANNEL, listener);
  cleanups.push(() => {
    unsubscribe(DRIVER_ERROR_CHANNEL, listener);
  });
  return messages;
}

/** The BlockDriverError that `attempt` ends with. */
export async function driverError(attempt: () => unknown): Promise<BlockDriverError> {
  try {
    await attempt();
  } catch (error) {
    expect(error).toBeInstanceOf(BlockDriverError);
    expect((error as BlockDriverError).message).not.toContain('\n');
    return error as BlockDriverError;
  }
  throw new Error('there was no error');
}
