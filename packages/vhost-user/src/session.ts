import { hasFeature } from '@iothreads/core';
import type { ExportedDevice } from '@iothreads/iothread';
import { BackendChannel } from './backend-channel.js';
import type { Connection } from './connection.js';
import { takeEventfd } from './eventfd-argument.js';
import type { ExportLog } from './export-log.js';
import { GuestRegion } from './guest-region.js';
import { InflightRegion } from './inflight-region.js';
import { MAX_MEM_SLOTS, MemoryTable } from './memory-table.js';
import {
  type AnswerWithFd,
  dealWithMessages,
  type RequestHandler,
  type RequestHandlers,
} from './message-loop.js';
import { decodeConfigAccess, encodeConfigAccess } from './protocol/config-payload.js';
import { decodeInflight, encodeInflight } from './protocol/inflight-payload.js';
import { decodeU64, encodeU64, expectEmpty } from './protocol/integers.js';
import { decodeMemoryTable, decodeSingleRegion } from './protocol/memory-payloads.js';
import {
  PROTOCOL_FEATURES,
  ProtocolFeature,
  VHOST_USER_F_PROTOCOL_FEATURES,
} from './protocol/protocol-features.js';
import { Request } from './protocol/requests.js';
import {
  decodeVringAddress,
  decodeVringFd,
  decodeVringState,
  encodeVringState,
} from './protocol/vring-payloads.js';
import type { ReceivedFds } from './received-fds.js';
import { protocolError } from './vhost-user-error.js';
import { Vrings } from './vrings.js';
import type { WriteCache } from './write-cache.js';

/** What a session works for. */
export interface SessionOwner {
  readonly device: ExportedDevice;
  readonly writeCache: WriteCache;
  readonly log: ExportLog;
  /** The number of queues was chosen by the operator. */
  readonly numQueuesGiven: boolean;
}

const PROTOCOL_BIT = 1n << BigInt(VHOST_USER_F_PROTOCOL_FEATURES);
/**
 * Feature bits that mean nothing to a modern device, and that guests acknowledge all the same because QEMU offers them by itself:
 * NOTIFY_ON_EMPTY, ANY_LAYOUT.
 */
const MEANINGLESS_FEATURES = (1n << 24n) | (1n << 27n);

/** Offset of `writeback` in the configuration space. */
const WRITEBACK = 32;

const one = (): readonly [number, number] => [1, 1];
/** Some front ends send the file of a region that they remove. */
const atMostOne = (): readonly [number, number] => [0, 1];
const oneEachRegion = (payload: Uint8Array): readonly [number, number] => {
  const { length } = decodeMemoryTable(payload);
  return [length, length];
};
const oneUnlessDenied = (payload: Uint8Array): readonly [number, number] =>
  decodeVringFd(payload).hasFd ? [1, 1] : [0, 0];

/** One connection with a front end: what each of its requests does. */
export class Session implements RequestHandlers {
  readonly handlers: ReadonlyMap<number, RequestHandler>;
  readonly #connection: Connection;
  readonly #owner: SessionOwner;
  readonly #device: ExportedDevice;
  readonly #rings: Vrings;
  #protocolFeatures = 0n;
  #channel: BackendChannel | undefined;
  #askedForQueues = false;
  #kicked = false;
  #messages = 0;

  constructor(connection: Connection, owner: SessionOwner) {
    this.#connection = connection;
    this.#owner = owner;
    this.#device = owner.device;
    this.#rings = new Vrings(owner.device);
    const { MQ, CONFIG, BACKEND_REQ, INFLIGHT_SHMFD: INFLIGHT, CONFIGURE_MEM_SLOTS: SLOTS } = ProtocolFeature;
    this.handlers = new Map<number, RequestHandler>([
      [Request.GET_FEATURES, { handle: (p) => answer(p, this.#device.offeredFeatures | PROTOCOL_BIT) }],
      [Request.SET_FEATURES, { handle: (p) => this.#setFeatures(decodeU64(p)) }],
      [Request.GET_PROTOCOL_FEATURES, { handle: (p) => answer(p, PROTOCOL_FEATURES) }],
      [Request.SET_PROTOCOL_FEATURES, { handle: (p) => this.#setProtocolFeatures(decodeU64(p)) }],
      // There is one owner: whoever is connected.
      [Request.SET_OWNER, { handle: expectEmpty }],
      [Request.RESET_OWNER, { handle: expectEmpty }],
      [Request.GET_QUEUE_NUM, { feature: MQ, handle: (p) => this.#getQueueNum(p) }],
      [Request.GET_CONFIG, { feature: CONFIG, handle: (p) => this.#getConfig(p), refusal: new Uint8Array() }],
      [Request.SET_CONFIG, { feature: CONFIG, handle: (p) => this.#setConfig(p) }],
      [
        Request.SET_BACKEND_REQ_FD,
        { feature: BACKEND_REQ, fds: one, handle: (p, fds) => this.#setBackendReqFd(p, fds) },
      ],
      [Request.SET_MEM_TABLE, { fds: oneEachRegion, handle: (p, fds) => this.#setMemTable(p, fds) }],
      [Request.GET_MAX_MEM_SLOTS, { feature: SLOTS, handle: (p) => answer(p, MAX_MEM_SLOTS) }],
      [Request.ADD_MEM_REG, { feature: SLOTS, fds: one, handle: (p, fds) => this.#addMemReg(p, fds) }],
      [Request.REM_MEM_REG, { feature: SLOTS, fds: atMostOne, handle: (p) => this.#remMemReg(p) }],
      [Request.GET_INFLIGHT_FD, { feature: INFLIGHT, handle: (p) => this.#getInflightFd(p) }],
      [
        Request.SET_INFLIGHT_FD,
        { feature: INFLIGHT, fds: one, handle: (p, fds) => this.#setInflightFd(p, fds) },
      ],
      [Request.SET_VRING_NUM, { handle: (p) => this.#setVringNum(p) }],
      [Request.SET_VRING_ADDR, { handle: (p) => this.#setVringAddr(p) }],
      [Request.SET_VRING_BASE, { handle: (p) => this.#setVringBase(p) }],
      [Request.GET_VRING_BASE, { handle: (p) => this.#getVringBase(p) }],
      [Request.SET_VRING_KICK, { fds: oneUnlessDenied, handle: (p, fds) => this.#setVringKick(p, fds) }],
      [Request.SET_VRING_CALL, { fds: oneUnlessDenied, handle: (p, fds) => this.#setVringCall(p, fds) }],
      [Request.SET_VRING_ERR, { fds: oneUnlessDenied, handle: (p, fds) => this.#setVringErr(p, fds) }],
      [Request.SET_VRING_ENABLE, { handle: (p) => this.#setVringEnable(p) }],
    ]);
  }

  get acknowledges(): boolean {
    return this.hasProtocolFeature(ProtocolFeature.REPLY_ACK);
  }

  hasProtocolFeature(bit: number): boolean {
    return hasFeature(this.#protocolFeatures, bit);
  }

  /** Deals with messages until the connection ends. Rings may run afterwards: see `end`. */
  async run(): Promise<void> {
    const { log, numQueuesGiven } = this.#owner;
    this.#messages = await dealWithMessages(this.#connection, this, log);
    if (this.#askedForQueues && !this.#kicked && numQueuesGiven) {
      log.info(
        `the front end left after it was told that the export has ${this.#device.numQueues} queues; ` +
          'if it wants more, add num-queues=N to the export',
      );
    }
  }

  /** Lets `run` return when the message that is being dealt with is done. The connection stays until `disconnect`. */
  stop(): void {
    this.#connection.stop();
  }

  /**
   * Ends the connection, after the rings: a front end that sees it end looks how far the used rings are, and hands what is behind
   * that to the next back end.
   */
  disconnect(): void {
    this.#connection.close();
    if (this.#messages > 0) this.#owner.log.info('front end disconnected');
  }

  /** Gives everything back that the front end has shared. @throws as long as requests are in flight: call it again */
  async end(): Promise<void> {
    this.#channel?.close();
    this.#channel = undefined;
    await this.#rings.end();
  }

  /** Tells the front end to read the configuration space again, if it wants to hear of it. */
  configChanged(): void {
    try {
      this.#channel?.configChanged();
    } catch (error) {
      this.#owner.log.warning(`front end could not be told of the change: ${(error as Error).message}`);
    }
  }

  async #setFeatures(features: bigint): Promise<void> {
    const unknown = features & ~(this.#device.offeredFeatures | PROTOCOL_BIT | MEANINGLESS_FEATURES);
    if (unknown !== 0n) throw protocolError(`features 0x${unknown.toString(16)} were not offered`);
    await this.#rings.setFeatures(features, () => {
      this.#owner.writeCache.negotiated(features);
    });
  }

  #setProtocolFeatures(features: bigint): void {
    const unknown = features & ~PROTOCOL_FEATURES;
    if (unknown !== 0n) throw protocolError(`protocol features 0x${unknown.toString(16)} were not offered`);
    this.#protocolFeatures = features;
  }

  #getQueueNum(payload: Uint8Array): Uint8Array {
    this.#askedForQueues = true;
    return answer(payload, this.#device.numQueues);
  }

  #getConfig(payload: Uint8Array): Uint8Array {
    const { offset, bytes } = decodeConfigAccess(payload, true);
    const value = new Uint8Array(bytes.length);
    this.#device.config.read(offset, value);
    return encodeConfigAccess({ offset, bytes: value });
  }

  #setConfig(payload: Uint8Array): void {
    const { offset, bytes } = decodeConfigAccess(payload);
    if (offset !== WRITEBACK || bytes.length !== 1) {
      throw protocolError(
        `${bytes.length} bytes of the configuration at ${offset} can't be written, only writeback can`,
      );
    }
    this.#owner.writeCache.choose((bytes[0]! & 1) === 1);
  }

  #setBackendReqFd(payload: Uint8Array, fds: ReceivedFds): void {
    expectEmpty(payload);
    this.#channel?.close();
    this.#channel = new BackendChannel(fds.take());
  }

  async #setMemTable(payload: Uint8Array, fds: ReceivedFds): Promise<void> {
    const regions: GuestRegion[] = [];
    try {
      for (const description of decodeMemoryTable(payload)) regions.push(GuestRegion.map(description, fds));
      await this.#rings.setMemory(new MemoryTable(regions));
    } catch (error) {
      unmapUnused(regions, this.#rings.memory);
      throw error;
    }
  }

  async #addMemReg(payload: Uint8Array, fds: ReceivedFds): Promise<void> {
    const region = GuestRegion.map(decodeSingleRegion(payload), fds);
    try {
      await this.#rings.setMemory(this.#rings.memory.with(region));
    } catch (error) {
      unmapUnused([region], this.#rings.memory);
      throw error;
    }
  }

  #remMemReg(payload: Uint8Array): Promise<void> {
    return this.#rings.setMemory(this.#rings.memory.without(decodeSingleRegion(payload)));
  }

  #getInflightFd(payload: Uint8Array): AnswerWithFd {
    const { numQueues, queueSize } = decodeInflight(payload);
    if (numQueues > this.#device.numQueues || queueSize > this.#device.maxQueueSize) {
      throw protocolError(
        `requests in flight of ${numQueues} queues of size ${queueSize} are to be tracked; ` +
          `the export has ${this.#device.numQueues} of up to ${this.#device.maxQueueSize}`,
      );
    }
    const region = InflightRegion.create(numQueues, queueSize);
    return { payload: encodeInflight(region, payload.length), fd: region.fd };
  }

  async #setInflightFd(payload: Uint8Array, fds: ReceivedFds): Promise<void> {
    await this.#rings.setInflight(InflightRegion.map(decodeInflight(payload), fds));
  }

  #setVringNum(payload: Uint8Array): Promise<void> {
    const { index, num } = decodeVringState(payload);
    const ring = this.#rings.at(index);
    const most = this.#device.maxQueueSize;
    if (num < 1 || num > most || (num & (num - 1)) !== 0) {
      throw protocolError(`size of ring ${index} must be a power of two, 1 to ${most}, got ${num}`);
    }
    return this.#rings.whileStopped([ring], () => {
      ring.size = num;
    });
  }

  #setVringAddr(payload: Uint8Array): Promise<void> {
    const addresses = decodeVringAddress(payload);
    return this.#rings.setAddresses(this.#rings.at(addresses.index), addresses);
  }

  #setVringBase(payload: Uint8Array): Promise<void> {
    const { index, num } = decodeVringState(payload);
    const ring = this.#rings.at(index);
    if (num > 0xffff) throw protocolError(`ring ${index} can't go on at ${num}: indexes have 16 bits`);
    return this.#rings.whileStopped([ring], () => {
      ring.lastAvail = num;
      ring.held = [];
    });
  }

  async #getVringBase(payload: Uint8Array): Promise<Uint8Array> {
    const { index } = decodeVringState(payload);
    return encodeVringState({ index, num: await this.#rings.stopForGood(this.#rings.at(index)) });
  }

  #setVringKick(payload: Uint8Array, fds: ReceivedFds): Promise<void> {
    const argument = decodeVringFd(payload);
    const ring = this.#rings.at(argument.index);
    const fd = takeEventfd(argument, fds);
    this.#kicked = true;
    return this.#rings.setKick(ring, fd);
  }

  #setVringCall(payload: Uint8Array, fds: ReceivedFds): Promise<void> {
    const argument = decodeVringFd(payload);
    const ring = this.#rings.at(argument.index);
    return this.#rings.setCall(ring, takeEventfd(argument, fds));
  }

  #setVringErr(payload: Uint8Array, fds: ReceivedFds): Promise<void> {
    const argument = decodeVringFd(payload);
    const ring = this.#rings.at(argument.index);
    return this.#rings.setErr(ring, takeEventfd(argument, fds));
  }

  #setVringEnable(payload: Uint8Array): Promise<void> {
    const { index, num } = decodeVringState(payload);
    const ring = this.#rings.at(index);
    if (num > 1) throw protocolError(`ring ${index} is enabled by 1 and disabled by 0, not by ${num}`);
    return this.#rings.setEnabled(ring, num === 1);
  }
}

function answer(payload: Uint8Array, value: bigint | number): Uint8Array {
  expectEmpty(payload);
  return encodeU64(value);
}

function unmapUnused(regions: readonly GuestRegion[], table: MemoryTable): void {
  for (const region of regions) {
    if (!table.regions.includes(region)) region.unmap();
  }
}
