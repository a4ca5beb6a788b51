import { type BlockDriverContext, openDrive, type PreparedDrive } from '@iothreads/backends';
import {
  type BlockLimits,
  hasFeature,
  InflightTable,
  type MemoryRegionOptions,
  type PollingSettings,
  VIRTIO_F_EVENT_IDX,
  VIRTIO_F_INDIRECT_DESC,
  Virtqueue,
  type VirtqueueAddresses,
  type VirtqueueState,
} from '@iothreads/core';
import { threadId } from 'node:worker_threads';
import { nowNs } from '../clock.js';
import { inTime, LATE } from '../in-time.js';
import { IOThreadError } from '../iothread-error.js';
import { BlockStatistics } from '../shared/block-statistics.js';
import { DeviceChannel, type DevicePort } from '../shared/device-channel.js';
import type { ErrorPolicies } from '../shared/error-policies.js';
import { LoopStatistics } from '../shared/loop-statistics.js';
import { WakeSlot } from '../shared/wake-slots.js';
import { AttachedDevice } from './attached-device.js';
import { ChannelNotifier } from './channel-notifier.js';
import type { DispatchMode } from './dispatcher.js';
import { EventfdNotifier, type QueueEventfds } from './eventfd-notifier.js';
import { EventLoop } from './event-loop.js';
import type { IOErrorReport } from './io-error-reports.js';
import { loadLinux } from './load-linux.js';
import { type MappedRegion, openMemory } from './mapped-memory.js';
import type { QueueNotifier } from './queue-notifier.js';
import { RequestTrace } from './request-trace.js';
import type { KeptFate, ServedQueue } from './served-queues.js';

/** What a worker needs to become an iothread. */
export interface IOThreadStart {
  readonly slot: number;
  readonly wakeBuffer: SharedArrayBuffer;
  readonly statisticsBuffer: SharedArrayBuffer;
  readonly polling: PollingSettings;
}

/** A device to attach: its drive is opened, its queues come with `startQueues`. */
export interface AttachRequest {
  readonly id: string;
  readonly drive: PreparedDrive;
  readonly limits: BlockLimits;
  readonly port: DevicePort;
  readonly statisticsBuffer: SharedArrayBuffer;
  readonly dispatchMode: DispatchMode;
  readonly policies: ErrorPolicies;
}

/** A queue to serve, and where to go on in it. */
export interface QueueStart {
  readonly index: number;
  readonly addresses: VirtqueueAddresses;
  readonly features: bigint;
  readonly state: VirtqueueState | undefined;
  /** Where its driver is in another process; otherwise the device's port is what it kicks and waits on. */
  readonly eventfds: QueueEventfds | undefined;
  /** Where the table of its requests in flight is mapped, if it has one; mapped for as long as the queue runs. */
  readonly inflightAddress?: number | undefined;
}

export interface StartQueuesRequest {
  readonly id: string;
  readonly memory: readonly (MemoryRegionOptions | MappedRegion)[];
  readonly maxQueueSize: number;
  readonly queues: readonly QueueStart[];
}

/**
 * What becomes of requests that are still in flight when the time to drain is over: the queues are served on, or they stay
 * stopped, or the requests are given up.
 */
export type WhenLate = 'resume' | 'hold' | 'abandon';

/** What is left when a device's queues have been stopped. */
export interface StoppedQueues {
  readonly states: readonly { readonly index: number; readonly state: VirtqueueState }[];
  /** Requests that did not complete in time and were given up; 0 unless that was asked for. */
  readonly abandoned: number;
}

export interface IOThreadInfo {
  readonly threadId: number;
  readonly devices: readonly string[];
  /** Whether the dispatcher may do synchronous I/O here: at most one device. */
  readonly syncAllowed: boolean;
  readonly pollNs: number;
}

/** A view over a mapping, as short-lived as the queue. */
async function openInflight(address: number | undefined, size: number): Promise<InflightTable | undefined> {
  if (address === undefined) return undefined;
  const { viewOf } = await loadLinux();
  return new InflightTable(viewOf(address, InflightTable.bytesFor(size)), 0, size);
}

/** The control plane of an iothread, on its own thread. Every method is one message there and one back. */
export class IOThreadControl {
  readonly #loop: EventLoop;
  readonly #devices = new Map<string, AttachedDevice>();
  readonly #onStop: () => void;
  readonly #onIOError: (id: string, report: IOErrorReport) => void;
  readonly #outlives: BlockDriverContext['outlives'];

  constructor(
    start: IOThreadStart,
    onStop: () => void,
    onIOError: (id: string, report: IOErrorReport) => void,
    outlives?: BlockDriverContext['outlives'],
  ) {
    this.#onStop = onStop;
    this.#onIOError = onIOError;
    this.#outlives = outlives;
    this.#loop = new EventLoop({
      nowNs,
      polling: start.polling,
      wakeSlot: new WakeSlot(start.wakeBuffer, start.slot),
      statistics: new LoopStatistics(start.statisticsBuffer),
    });
  }

  /** Opens the drive and attaches the device: from this moment it counts as one of the iothread's. */
  async attach(request: AttachRequest): Promise<void> {
    let device: AttachedDevice | undefined;
    const attend = (): void => {
      if (device !== undefined) this.#loop.kicked(device);
    };
    const driver = await openDrive(request.drive, { nowNs, attend, outlives: this.#outlives });
    device = new AttachedDevice({
      id: request.id,
      driver,
      driverName: request.drive.driver,
      channel: new DeviceChannel(request.port),
      host: this.#loop,
      statistics: new BlockStatistics(request.statisticsBuffer),
      limits: request.limits,
      policies: request.policies,
      onIOError: (report) => {
        this.#onIOError(request.id, report);
      },
    });
    device.dispatcher.mode = request.dispatchMode;
    this.#devices.set(request.id, device);
    this.#loop.add(device);
  }

  /** @throws VirtioError `ERR_QUEUE_SIZE`, `ERR_QUEUE_ADDRESS`: none of the queues is served then */
  async startQueues(request: StartQueuesRequest): Promise<void> {
    const device = this.#device(request.id);
    const memory = await openMemory(request.memory);
    const queues: ServedQueue[] = [];
    try {
      for (const { index, addresses, features, state, eventfds, inflightAddress } of request.queues) {
        const virtqueue = new Virtqueue(memory, addresses, {
          indirect: hasFeature(features, VIRTIO_F_INDIRECT_DESC),
          eventIdx: hasFeature(features, VIRTIO_F_EVENT_IDX),
          maxSize: request.maxQueueSize,
          ...(state === undefined ? {} : { state }),
          inflight: await openInflight(inflightAddress, addresses.size),
        });
        const notifier = await this.#notifier(device, index, eventfds);
        queues.push({ index, virtqueue, notifier, kept: [], reported: false, wanted: false });
      }
    } catch (error) {
      for (const { notifier } of queues) notifier.close();
      throw error;
    }
    device.start(queues);
    this.#loop.attend(device);
  }

  /** The device takes requests again after a pause. */
  goOn(id: string): void {
    this.#loop.attend(this.#device(id));
  }

  async #notifier(
    device: AttachedDevice,
    index: number,
    eventfds: QueueEventfds | undefined,
  ): Promise<QueueNotifier> {
    if (eventfds === undefined) return new ChannelNotifier(device.channel, index);
    const onKick = (): void => {
      this.#loop.kicked(device);
    };
    return new EventfdNotifier(await loadLinux(), eventfds, device.channel, onKick);
  }

  /** The queue interrupts through another eventfd from now on. */
  setCall(id: string, index: number, callFd: number): void {
    const notifier = this.#device(id).queue(index)?.notifier;
    if (notifier instanceof EventfdNotifier) notifier.callFd = callFd;
  }

  /** The device's disk has another size. */
  resize(id: string, limits: BlockLimits): void {
    this.#device(id).limits = limits;
  }

  /**
   * Takes no more requests from these queues and waits for those in flight.
   * @param kept what becomes of requests that are kept because the disk has failed them
   * @throws IOThreadError `ERR_DRAIN_TIMEOUT` when some are left after `timeoutMs`, unless they are to be abandoned
   */
  async stopQueues(
    id: string,
    indexes: readonly number[],
    timeoutMs: number,
    whenLate: WhenLate,
    kept: KeptFate,
  ): Promise<StoppedQueues> {
    const device = this.#device(id);
    let abandoned = 0;
    if ((await inTime(device.stop(indexes), timeoutMs)) === LATE) {
      if (whenLate !== 'abandon') {
        const left = device.inFlight;
        if (whenLate === 'resume') {
          device.resume();
          this.#loop.attend(device);
        }
        throw new IOThreadError(
          'ERR_DRAIN_TIMEOUT',
          `device '${id}': ${left} requests were still in flight after ${timeoutMs} ms; its disk does not answer`,
        );
      }
      abandoned = device.abandon();
    }
    return { states: device.release(kept), abandoned };
  }

  /**
   * Detaches a device whose queues have been stopped, and closes its drive.
   * @throws IOThreadError `ERR_DRAIN_TIMEOUT` when closing takes longer than `timeoutMs`; the device is detached all the same
   */
  async detach(id: string, timeoutMs: number): Promise<void> {
    const device = this.#device(id);
    this.#devices.delete(id);
    this.#loop.remove(device);
    device.end();
    if ((await inTime(device.driver.close(), timeoutMs)) === LATE) {
      throw new IOThreadError(
        'ERR_DRAIN_TIMEOUT',
        `device '${id}': its disk could not be closed within ${timeoutMs} ms`,
      );
    }
  }

  query(): IOThreadInfo {
    return {
      threadId,
      devices: [...this.#devices.keys()],
      syncAllowed: !this.#loop.shared,
      pollNs: this.#loop.polling.pollNs,
    };
  }

  /** For benches and tests: overrules the dispatcher. */
  setDispatchMode(id: string, mode: DispatchMode): void {
    this.#device(id).dispatcher.mode = mode;
  }

  /** For benches: marks the moments of the device's requests in `buffer`. */
  setTrace(id: string, buffer: SharedArrayBuffer | undefined): void {
    this.#device(id).trace(buffer === undefined ? undefined : new RequestTrace(buffer, nowNs));
  }

  /** Ends the worker's task; devices that are still attached are let go. */
  stop(): void {
    this.#loop.stop();
    for (const device of this.#devices.values()) device.letGo();
    this.#onStop();
  }

  #device(id: string): AttachedDevice {
    const device = this.#devices.get(id);
    if (device === undefined) {
      throw new IOThreadError('ERR_UNKNOWN_DEVICE', `this iothread has no device '${id}'`);
    }
    return device;
  }
}
