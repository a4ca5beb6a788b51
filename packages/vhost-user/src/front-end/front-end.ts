import {
  BLK_CONFIG_BYTES,
  hasFeature,
  RING_IDX,
  VIRTIO_F_EVENT_IDX,
  type VirtqueueAddresses,
} from '@iothreads/core';
import { GuestAllocator } from '@iothreads/core/testing';
import { createEventfd } from '@iothreads/linux';
import { decodeConfigAccess, encodeConfigAccess } from '../protocol/config-payload.js';
import { decodeU64, encodeU64 } from '../protocol/integers.js';
import { encodeMemoryTable, encodeSingleRegion } from '../protocol/memory-payloads.js';
import {
  PROTOCOL_FEATURES,
  ProtocolFeature,
  VHOST_USER_F_PROTOCOL_FEATURES,
} from '../protocol/protocol-features.js';
import { Request } from '../protocol/requests.js';
import {
  decodeVringState,
  encodeVringAddress,
  encodeVringFd,
  encodeVringState,
} from '../protocol/vring-payloads.js';
import { VhostUserError } from '../vhost-user-error.js';
import { ConfigChanges } from './config-changes.js';
import { FrontEndQueue } from './front-end-queue.js';
import { FrontEndRequests } from './front-end-requests.js';
import { InflightMemory } from './inflight-memory.js';
import { type RegionOptions, SharedRegion } from './shared-region.js';

/** What a front end has: guest memory, queues, and which features it wants. */
export interface FrontEndOptions {
  /** Bytes of guest memory, from guest address 0 on; default 16 MiB. */
  readonly memoryBytes?: number;
  /** Or its regions. */
  readonly regions?: readonly RegionOptions[];
  /** Default 1. */
  readonly numQueues?: number;
  /** Descriptors of each queue, a power of two; default 128. */
  readonly queueSize?: number;
  /** Requests in flight on each queue; default a third of its size, which is the most. */
  readonly depth?: number;
  /** Bytes of data that a request can carry; default 64 KiB. */
  readonly dataBytes?: number;
  /** Virtio features wanted, of those offered; default all. */
  readonly features?: bigint;
  /** Protocol features wanted, of those offered; default all that this package knows. */
  readonly protocolFeatures?: bigint;
  /** Whether memory is shared region by region (ADD_MEM_REG) instead of as one table; default false. */
  readonly memorySlots?: boolean;
  /**
   * Whether the device is given an eventfd to call; default true. Without, `read` and the like poll. QEMU's back end can't do
   * without: a driver that polls leaves it and turns interrupts off.
   */
  readonly call?: boolean;
  /** Whether the queues are started; default true. Otherwise `startQueue` does it. */
  readonly start?: boolean;
}

/**
 * A front end of vhost-user-blk: the driver of a disk that any back end serves, for tests and benches. One thread's own.
 *
 * ```ts
 * const frontEnd = await VhostUserFrontEnd.connect('/run/disk.sock');
 * const firstSector = await frontEnd.queues[0]!.read(0, 512);
 * await frontEnd.close();
 * ```
 */
export class VhostUserFrontEnd {
  /** For everything that the methods below don't send. */
  requests: FrontEndRequests;
  readonly regions: SharedRegion[] = [];
  readonly queues: FrontEndQueue[] = [];
  /** Requests in flight, for the next back end; undefined where INFLIGHT_SHMFD was not negotiated. */
  inflight: InflightMemory | undefined;
  readonly #options: FrontEndOptions;
  /** The back end's own messages; undefined where BACKEND_REQ was not negotiated. */
  configChanges: ConfigChanges | undefined;
  /** Negotiated. */
  features = 0n;
  protocolFeatures = 0n;
  /** Queues that the back end has; NaN where it was not asked. */
  maxQueues = NaN;
  #allocator: GuestAllocator | undefined;

  private constructor(requests: FrontEndRequests, options: FrontEndOptions) {
    this.requests = requests;
    this.#options = options;
  }

  /**
   * Connects, negotiates, shares memory and starts the queues.
   * @throws VhostUserError when nobody listens there, or the back end refuses something or has too few queues
   */
  static async connect(path: string, options: FrontEndOptions = {}): Promise<VhostUserFrontEnd> {
    const frontEnd = new VhostUserFrontEnd(FrontEndRequests.connect(path), options);
    try {
      await frontEnd.#negotiate();
      frontEnd.#makeMemory();
      await frontEnd.#shareMemory();
      frontEnd.#makeQueues();
      await frontEnd.#trackInflight();
      if (options.start ?? true) for (const { index } of frontEnd.queues) await frontEnd.startQueue(index);
    } catch (error) {
      await frontEnd.close();
      throw error;
    }
    return frontEnd;
  }

  /**
   * Goes on with the back end that listens there now, after the one before has gone: with the same memory and queues, and with
   * what was in flight. @throws as `connect`; it can be tried again
   * @param base what it says of where a queue goes on; default: the used index
   */
  async reconnect(path: string, base: (queue: FrontEndQueue) => number = usedIdxOf): Promise<void> {
    this.requests.close();
    await this.configChanges?.close();
    this.requests = FrontEndRequests.connect(path);
    await this.#negotiate();
    await this.#shareMemory();
    await this.#trackInflight();
    // What is behind the used index is in flight, or has not been taken: the region tells which, the back end counts on.
    for (const queue of this.queues) await this.startQueue(queue.index, base(queue));
  }

  /** Guest memory, and who hands it out. */
  get allocator(): GuestAllocator {
    return this.#allocator!;
  }

  async #negotiate(): Promise<void> {
    const { requests } = this;
    const options = this.#options;
    const offered = decodeU64(await requests.ask(Request.GET_FEATURES));
    this.features = offered & (options.features ?? offered);
    if (hasFeature(this.features, VHOST_USER_F_PROTOCOL_FEATURES)) {
      const wanted = options.protocolFeatures ?? PROTOCOL_FEATURES;
      this.protocolFeatures = decodeU64(await requests.ask(Request.GET_PROTOCOL_FEATURES)) & wanted;
      await requests.tell(Request.SET_PROTOCOL_FEATURES, encodeU64(this.protocolFeatures));
      requests.protocolFeatures = this.protocolFeatures;
    }
    if (this.has(ProtocolFeature.MQ)) {
      this.maxQueues = Number(decodeU64(await requests.ask(Request.GET_QUEUE_NUM)));
      const wanted = options.numQueues ?? 1;
      if (wanted > this.maxQueues) {
        const message = `the back end has ${this.maxQueues} queues: add num-queues=${wanted} to its export`;
        throw new VhostUserError('ERR_REFUSED', message);
      }
    }
    await requests.tell(Request.SET_OWNER);
    if (this.has(ProtocolFeature.BACKEND_REQ)) {
      this.configChanges = await ConfigChanges.open((fd) =>
        requests.tell(Request.SET_BACKEND_REQ_FD, new Uint8Array(), [fd]),
      );
    }
    await requests.tell(Request.SET_FEATURES, encodeU64(this.features));
  }

  #makeMemory(): void {
    const { regions, memoryBytes = 16 << 20 } = this.#options;
    for (const region of regions ?? [{ guestAddress: 0, size: memoryBytes }]) {
      this.regions.push(new SharedRegion(region));
    }
    this.#allocator = new GuestAllocator(this.regions);
  }

  async #shareMemory(): Promise<void> {
    if (this.#options.memorySlots === true) {
      for (const region of this.regions) await this.addMemReg(region);
    } else {
      await this.setMemTable(this.regions);
    }
  }

  #makeQueues(): void {
    const { numQueues = 1, queueSize: size = 128, dataBytes = 65536, call = true } = this.#options;
    const depth = this.#options.depth ?? Math.floor(size / 3);
    const eventIdx = hasFeature(this.features, VIRTIO_F_EVENT_IDX);
    for (let index = 0; index < numQueues; index++) {
      this.queues.push(new FrontEndQueue(index, this.allocator, { size, depth, dataBytes, eventIdx, call }));
    }
  }

  async #trackInflight(): Promise<void> {
    if (!this.has(ProtocolFeature.INFLIGHT_SHMFD)) return;
    const { numQueues = 1, queueSize = 128 } = this.#options;
    this.inflight ??= await InflightMemory.ask(this.requests, numQueues, queueSize);
    await this.inflight.handOver(this.requests);
  }

  /** Whether a protocol feature has been negotiated. */
  has(protocolFeature: number): boolean {
    return hasFeature(this.protocolFeatures, protocolFeature);
  }

  /**
   * Tells the back end of a queue, its eventfds included, and enables it.
   * @param base index of the next avail entry that the device is to take
   */
  async startQueue(index: number, base: number = 0): Promise<void> {
    const queue = this.queues[index]!;
    await this.requests.tell(Request.SET_VRING_NUM, encodeVringState({ index, num: queue.addresses.size }));
    await this.requests.tell(Request.SET_VRING_BASE, encodeVringState({ index, num: base }));
    await this.setAddresses(index, queue.addresses);
    await this.#sendFd(Request.SET_VRING_CALL, index, queue.callFd);
    await this.#sendFd(Request.SET_VRING_KICK, index, queue.kickFd);
    if (hasFeature(this.features, VHOST_USER_F_PROTOCOL_FEATURES)) await this.setEnable(index, true);
  }

  /** SET_VRING_ADDR. @param addresses guest-physical ones: they are sent as those of this process */
  async setAddresses(index: number, addresses: VirtqueueAddresses): Promise<void> {
    await this.requests.tell(
      Request.SET_VRING_ADDR,
      encodeVringAddress({
        index,
        descriptorTable: this.userAddress(addresses.descriptorTable),
        availRing: this.userAddress(addresses.availRing),
        usedRing: this.userAddress(addresses.usedRing),
      }),
    );
  }

  /** SET_VRING_ENABLE. */
  setEnable(index: number, enabled: boolean): Promise<void> {
    return this.requests.tell(Request.SET_VRING_ENABLE, encodeVringState({ index, num: enabled ? 1 : 0 }));
  }

  /** Stops a queue when nothing of it is in flight any more. @returns where it is to go on */
  async getVringBase(index: number): Promise<number> {
    const payload = encodeVringState({ index, num: 0 });
    return decodeVringState(await this.requests.ask(Request.GET_VRING_BASE, payload)).num;
  }

  /** The device calls through another eventfd from now on, while requests are in flight. */
  async replaceCall(index: number): Promise<void> {
    const fd = createEventfd();
    await this.#sendFd(Request.SET_VRING_CALL, index, fd);
    this.queues[index]!.replaceCall(fd);
  }

  /** Hands over an eventfd that the device signals when the ring is broken; it stays the caller's. */
  setErr(index: number, fd: number): Promise<void> {
    return this.#sendFd(Request.SET_VRING_ERR, index, fd);
  }

  #sendFd(request: number, index: number, fd: number): Promise<void> {
    return this.requests.tell(request, encodeVringFd({ index, hasFd: fd !== -1 }), fd === -1 ? [] : [fd]);
  }

  /** SET_MEM_TABLE: the back end maps these regions and no others. At most 32. */
  setMemTable(regions: readonly SharedRegion[]): Promise<void> {
    return this.requests.tell(
      Request.SET_MEM_TABLE,
      encodeMemoryTable(regions),
      regions.map(({ fd }) => fd),
    );
  }

  /** ADD_MEM_REG; needs CONFIGURE_MEM_SLOTS. */
  addMemReg(region: SharedRegion): Promise<void> {
    return this.requests.tell(Request.ADD_MEM_REG, encodeSingleRegion(region), [region.fd]);
  }

  /** REM_MEM_REG: the back end unmaps it; needs CONFIGURE_MEM_SLOTS. */
  remMemReg(region: SharedRegion): Promise<void> {
    return this.requests.tell(Request.REM_MEM_REG, encodeSingleRegion(region));
  }

  /**
   * GET_CONFIG: bytes of the configuration space (virtio 1.3 section 5.2.4).
   * @throws VhostUserError `ERR_REFUSED` where the back end has none there
   */
  async getConfig(offset: number = 0, byteLength: number = BLK_CONFIG_BYTES): Promise<Uint8Array> {
    const payload = encodeConfigAccess({ offset, bytes: new Uint8Array(byteLength) });
    const answer = await this.requests.ask(Request.GET_CONFIG, payload);
    if (answer.length === 0) {
      throw new VhostUserError(
        'ERR_REFUSED',
        `the back end has no ${byteLength} bytes of configuration at ${offset}`,
      );
    }
    return decodeConfigAccess(answer).bytes;
  }

  /** SET_CONFIG; the device ignores all but `writeback`. */
  setConfig(offset: number, bytes: Uint8Array): Promise<void> {
    return this.requests.tell(Request.SET_CONFIG, encodeConfigAccess({ offset, bytes }));
  }

  /** Size of the disk in sectors of 512 bytes, as it is now. */
  async capacitySectors(): Promise<number> {
    const config = await this.getConfig(0, 8);
    return Number(new DataView(config.buffer, config.byteOffset).getBigUint64(0, true));
  }

  /** Where this process has what the guest has at `guestAddress`. */
  userAddress(guestAddress: number): number {
    const region = this.regions.find(
      (each) => guestAddress >= each.guestAddress && guestAddress - each.guestAddress < each.size,
    );
    if (region === undefined) throw new RangeError(`no region holds guest address ${guestAddress}`);
    return region.userAddress + (guestAddress - region.guestAddress);
  }

  /** Disconnects and gives everything back; views over guest memory must not be used afterwards. */
  async close(): Promise<void> {
    this.requests.close();
    await this.configChanges?.close();
    for (const queue of this.queues.splice(0)) queue.close();
    for (const region of this.regions.splice(0)) region.close();
    this.inflight?.close();
    this.inflight = undefined;
  }
}

const usedIdxOf = ({ driver }: FrontEndQueue): number => Atomics.load(driver.queue.ring.used16, RING_IDX);
