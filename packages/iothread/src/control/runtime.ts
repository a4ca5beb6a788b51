import { type HeldDrive, holdDrive } from '@iothreads/backends';
import { EventEmitter } from 'node:events';
import { IOThreadError } from '../iothread-error.js';
import { type KindStatistics, STATISTICS_KINDS, type StatisticsKind } from '../shared/block-statistics.js';
import type { LoopStatisticsValues } from '../shared/loop-statistics.js';
import { createWakeBuffer, MAX_IOTHREADS } from '../shared/wake-slots.js';
import { BlockDevice } from './block-device.js';
import { ExportedDevice } from './exported-device.js';
import type { DeviceOwner, PlacedDevice } from './placed-device.js';
import {
  type CheckedDevice,
  checkConfiguration,
  checkExport,
  type CheckedIOThread,
  type Configuration,
  type DeviceOptions,
  type ExportOptions,
  type IOThreadOptions,
} from './configuration.js';
import type { IOStatus } from '../shared/device-channel.js';
import type { DriverErrorReport } from '../worker/driver-error-reports.js';
import type { IOErrorReport } from '../worker/io-error-reports.js';
import { IOThread, IOTHREAD_WORKER_URL } from './iothread.js';
import { DEFAULT_RESTARTS, type RestartLimits } from './restart-limit.js';
import { resolveMapping, type VqMappingOptions } from './vq-mapping.js';

/** What a runtime can be told. */
export interface RuntimeOptions {
  /** The worker's module, where a bundler has moved it. */
  readonly workerUrl?: URL;
  /**
   * How often a worker that has died is started again, or false for an embedder that decides by itself what to do then. Default: ten
   * times within a minute, later and later while it dies at once.
   */
  readonly restart?: RestartLimits | false;
}

/** What `queryIOThreads` tells of an iothread. */
export interface IOThreadReport {
  readonly id: string;
  readonly alive: boolean;
  /** Its worker has died, and is about to be started again. */
  readonly restarting: boolean;
  /** How often its worker was started again. */
  readonly restarts: number;
  /** Node's id of the worker; 0 when it is dead. */
  readonly threadId: number;
  readonly pollMaxNs: number;
  readonly pollGrow: number;
  readonly pollShrink: number;
  /** For how long it polls at present before it sleeps. */
  readonly pollNs: number;
  readonly devices: readonly string[];
  /** Whether synchronous I/O is allowed on it: at most one device is attached. */
  readonly syncAllowed: boolean;
  readonly loop: LoopStatisticsValues;
}

/** What `queryBlockStats` tells of a device: counts and latencies since it was added. */
export interface BlockStatsReport extends Readonly<Record<StatisticsKind, KindStatistics>> {
  readonly id: string;
  readonly iothreads: readonly string[];
  /** Requests refused before they reached the disk: the guest's mistakes. */
  readonly invalid: number;
  /** Requests that the disk completed twice, or after they had been given up: a mistake in its driver. */
  readonly driverMistakes: number;
  /** 'failed' or, for want of space, 'nospace': the device is paused, and waits for `continueDevice`. */
  readonly ioStatus: IOStatus;
}

/** Events of a runtime: what goes wrong while no call is waiting for it. */
export interface RuntimeEvents {
  /**
   * A worker is gone; its devices need a reset by their drivers. `restarting` says whether it is started again; where it is not,
   * they need another iothread as well.
   */
  iothreadDied: [id: string, error: IOThreadError, restarting: boolean];
  /** Another worker has taken the place of one that died, and has its devices. */
  iothreadRestarted: [id: string];
  /** A disk failed a request, or made a mistake: why, beyond the IOERR that the guest is told. */
  driverError: [iothread: string, report: DriverErrorReport];
  /**
   * A device's disk failed a request, and what became of that: at most one a second of each iothread, the last one, but for what
   * pauses the device. A device that is paused while nobody listens is a warning of the process.
   */
  ioError: [id: string, report: IOErrorReport];
  /** Something about a device's drive is done in another way than was asked for: without io_uring, for instance. */
  notice: [id: string, message: string];
  /** A device could not be started, reset or drained. */
  deviceError: [id: string, error: Error];
}

/**
 * Iothreads and the virtio-blk devices attached to them.
 *
 * ```ts
 * await using runtime = new IOThreadRuntime();
 * await runtime.addIOThread({ id: 'iothread0' });
 * const vda = await runtime.addDevice({
 *   id: 'vda', iothread: 'iothread0', drive: { driver: 'file', filename: 'disk.img' }, memory,
 * });
 * ```
 */
export class IOThreadRuntime extends EventEmitter<RuntimeEvents> {
  readonly #workerUrl: URL;
  readonly #restarts: RestartLimits | undefined;
  readonly #wakeBuffer = createWakeBuffer();
  readonly #iothreads = new Map<string, IOThread>();
  readonly #devices = new Map<string, PlacedDevice>();
  /** Ids of what is being added: taken, though not there yet. */
  readonly #pendingIds = { iothreads: new Set<string>(), devices: new Set<string>() };
  /** Calls of `configure` that have not returned. */
  readonly #configuring = new Set<Promise<unknown>>();
  #closed: Promise<void> | undefined;

  constructor(options: RuntimeOptions = {}) {
    super();
    this.#workerUrl = options.workerUrl ?? IOTHREAD_WORKER_URL;
    const { restart = DEFAULT_RESTARTS } = options;
    this.#restarts = restart === false ? undefined : restart;
  }

  /**
   * Starts an iothread, without devices yet.
   * @throws IOThreadError `ERR_CONFIG`, `ERR_DUPLICATE_ID`
   */
  async addIOThread(options: IOThreadOptions): Promise<void> {
    await this.configure({ iothreads: [options] });
  }

  /**
   * Adds a device and attaches it. Its driver finds it ready to be started.
   * @throws IOThreadError `ERR_CONFIG`, `ERR_DUPLICATE_ID`, `ERR_UNKNOWN_IOTHREAD`
   * @throws BlockDriverError when the drive can't be used
   */
  async addDevice(options: DeviceOptions): Promise<BlockDevice> {
    const [device] = await this.configure({ devices: [options] });
    return device!;
  }

  /**
   * Adds many iothreads and devices at once. Everything is checked before anything starts, disks included; if something
   * fails after that, what has been added is taken back.
   * @returns the devices, in the order given
   */
  async configure(configuration: Configuration): Promise<BlockDevice[]> {
    this.#open();
    const checked = checkConfiguration(configuration, {
      iothreads: new Set([...this.#iothreads.keys(), ...this.#pendingIds.iothreads]),
      devices: new Set([...this.#devices.keys(), ...this.#pendingIds.devices]),
    });
    const ids = new Set([...this.#iothreads.keys(), ...this.#pendingIds.iothreads]);
    if (ids.size + checked.iothreads.length > MAX_IOTHREADS) {
      throw new IOThreadError('ERR_CONFIG', `iothreads: at most ${MAX_IOTHREADS} can exist at a time`);
    }
    for (const { id } of checked.iothreads) this.#pendingIds.iothreads.add(id);
    for (const { id } of checked.devices) this.#pendingIds.devices.add(id);
    const starting = this.#start(checked);
    this.#configuring.add(starting);
    try {
      return await starting;
    } finally {
      this.#configuring.delete(starting);
      for (const { id } of checked.iothreads) this.#pendingIds.iothreads.delete(id);
      for (const { id } of checked.devices) this.#pendingIds.devices.delete(id);
    }
  }

  async #start(checked: { iothreads: CheckedIOThread[]; devices: CheckedDevice[] }): Promise<BlockDevice[]> {
    const drives = await holdAll(checked.devices);
    const devices: BlockDevice[] = [];
    try {
      this.#open();
      for (const options of checked.iothreads) this.#startIOThread(options);
      // Each answers before its first device comes: a worker that can't start fails here, by name.
      await Promise.all(
        checked.iothreads.map(({ id }) => this.iothread(id).call((control) => control.query())),
      );
      for (const [index, options] of checked.devices.entries()) {
        const device = new BlockDevice(options, drives[index]!, this.#owner);
        await device.attach();
        devices.push(device);
        this.#devices.set(device.id, device);
        for (const notice of drives[index]!.notices) this.emit('notice', device.id, notice);
        // Closed meanwhile: what has been added goes again, before `close` goes on.
        this.#open();
      }
    } catch (error) {
      await Promise.allSettled(devices.map((device) => device.detach()));
      for (const { id } of devices) this.#devices.delete(id);
      // Those whose devices never came to be.
      await Promise.allSettled(drives.slice(devices.length).map((drive) => drive.close()));
      const started = checked.iothreads.flatMap(({ id }) => this.#iothreads.get(id) ?? []);
      for (const { id } of started) this.#iothreads.delete(id);
      await Promise.allSettled(started.map((iothread) => iothread.stop()));
      throw error;
    }
    return devices;
  }

  get #owner(): DeviceOwner {
    return {
      wakeBuffer: this.#wakeBuffer,
      iothread: (id) => this.iothread(id),
      report: ({ id }, error) => {
        this.emit('deviceError', id, error);
      },
    };
  }

  /**
   * Adds a device whose driver is in another process, for a transport to start its queues.
   * @throws IOThreadError `ERR_CONFIG`, `ERR_DUPLICATE_ID`, `ERR_UNKNOWN_IOTHREAD`
   */
  async addExport(options: ExportOptions): Promise<ExportedDevice> {
    this.#open();
    const checked = checkExport(options, {
      iothreads: new Set(this.#iothreads.keys()),
      devices: new Set([...this.#devices.keys(), ...this.#pendingIds.devices]),
    });
    const device = new ExportedDevice(checked, options.drive, this.#owner);
    this.#devices.set(device.id, device);
    try {
      await device.attach();
      this.#open();
    } catch (error) {
      await device.detach().catch(() => undefined);
      this.#devices.delete(device.id);
      throw error;
    }
    return device;
  }

  #startIOThread({ id, polling }: CheckedIOThread): void {
    const taken = new Set([...this.#iothreads.values()].map(({ slot }) => slot));
    let slot = 0;
    while (taken.has(slot)) slot++;
    const iothread: IOThread = new IOThread({
      id,
      slot,
      polling,
      wakeBuffer: this.#wakeBuffer,
      workerUrl: this.#workerUrl,
      restarts: this.#restarts,
      onReport: (report) => {
        if ('driverError' in report) this.emit('driverError', id, report.driverError);
        else this.#ioError(report.device, report.ioError);
      },
      onDeath: (error) => {
        for (const device of this.#devicesOn(iothread)) device.iothreadDied(iothread);
        this.emit('iothreadDied', id, error, iothread.restarting);
      },
      onRestart: () => {
        void this.#reattach(iothread);
      },
    });
    this.#iothreads.set(id, iothread);
  }

  /** Its devices are as ready as they were on the worker that died. */
  async #reattach(iothread: IOThread): Promise<void> {
    const { restarts } = iothread;
    await Promise.all(this.#devicesOn(iothread).map((device) => device.iothreadRestarted(iothread)));
    if (iothread.alive && iothread.restarts === restarts) this.emit('iothreadRestarted', iothread.id);
  }

  #devicesOn(iothread: IOThread): PlacedDevice[] {
    return [...this.#devices.values()].filter((device) => device.isOn(iothread));
  }

  #ioError(id: string, report: IOErrorReport): void {
    if (this.emit('ioError', id, report) || !report.paused) return;
    process.emitWarning(
      `device '${id}' is paused, since its disk failed a ${report.operation} with ${report.errorCode}: mend that and call continueDevice('${id}')`,
      'IOThreadWarning',
    );
  }

  /** Stops an iothread without devices. @throws IOThreadError `ERR_UNKNOWN_IOTHREAD`, `ERR_IOTHREAD_IN_USE` */
  async removeIOThread(id: string): Promise<void> {
    this.#open();
    const iothread = this.iothread(id);
    const devices = this.#devicesOn(iothread);
    if (devices.length > 0) {
      const ids = devices.map((device) => `'${device.id}'`).join(', ');
      throw new IOThreadError(
        'ERR_IOTHREAD_IN_USE',
        `iothread '${id}' still serves ${ids}: move or remove them first`,
      );
    }
    this.#iothreads.delete(id);
    await iothread.stop();
  }

  /** A device by its id. @throws IOThreadError `ERR_UNKNOWN_DEVICE` */
  device(id: string): PlacedDevice {
    const device = this.#devices.get(id);
    if (device === undefined) throw new IOThreadError('ERR_UNKNOWN_DEVICE', `there is no device '${id}'`);
    return device;
  }

  /** @internal @throws IOThreadError `ERR_UNKNOWN_IOTHREAD` */
  iothread(id: string): IOThread {
    const iothread = this.#iothreads.get(id);
    if (iothread === undefined)
      throw new IOThreadError('ERR_UNKNOWN_IOTHREAD', `there is no iothread '${id}'`);
    return iothread;
  }

  /**
   * Takes a device to another iothread, or spreads its queues over several, while its driver goes on: requests in flight
   * complete first, later ones wait in the rings.
   * @throws IOThreadError `ERR_UNKNOWN_DEVICE`, `ERR_UNKNOWN_IOTHREAD`, `ERR_DRAIN_TIMEOUT`: the device stays where it was
   */
  async moveDevice(id: string, to: string | readonly VqMappingOptions[]): Promise<void> {
    this.#open();
    const device = this.device(id);
    const mapping = resolveMapping(
      {
        iothread: typeof to === 'string' ? to : undefined,
        iothreadVqMapping: typeof to === 'string' ? undefined : to,
        numQueues: device.numQueues,
      },
      `moveDevice('${id}')`,
      new Set(this.#iothreads.keys()),
    );
    await device.move(mapping);
  }

  /** Waits until no request of the device is in flight; its driver goes on after that. */
  async drainDevice(id: string): Promise<void> {
    this.#open();
    await this.device(id).drainAndGoOn();
  }

  /**
   * Ends the pause of a device whose disk failed a request (`werror`, `rerror`): that request and others like it are done again, in
   * their order, and those that wait in the rings after them. Nothing happens where it isn't paused.
   * @returns whether it was
   * @throws IOThreadError `ERR_UNKNOWN_DEVICE`
   */
  async continueDevice(id: string): Promise<boolean> {
    this.#open();
    return this.device(id).continue();
  }

  /** Drains and detaches a device and closes its drive. @throws IOThreadError `ERR_UNKNOWN_DEVICE` */
  async removeDevice(id: string): Promise<void> {
    this.#open();
    const device = this.device(id);
    try {
      await device.detach();
    } finally {
      // Its id is taken as long as an iothread may know it.
      if (this.#devices.get(id) === device) this.#devices.delete(id);
    }
  }

  /** Asks every iothread how it is; one that died is reported as such. */
  async queryIOThreads(): Promise<IOThreadReport[]> {
    this.#open();
    return Promise.all([...this.#iothreads.values()].map((iothread) => this.#reportIOThread(iothread)));
  }

  async #reportIOThread(iothread: IOThread): Promise<IOThreadReport> {
    const { id, polling, statistics } = iothread;
    const devices = this.#devicesOn(iothread).map((device) => device.id);
    const dead = { threadId: 0, devices, syncAllowed: devices.length <= 1, pollNs: 0 };
    const info = await iothread
      .call((control) => control.query())
      .catch((error: unknown) => {
        if (!(error instanceof IOThreadError)) throw error;
        return dead;
      });
    const { alive, restarting, restarts } = iothread;
    return { id, alive, restarting, restarts, ...polling, ...info, loop: statistics.read() };
  }

  /**
   * Reads the counters that the iothreads write; asks none of them. A request is counted just after its guest can see
   * that it has completed.
   */
  queryBlockStats(): Promise<BlockStatsReport[]> {
    this.#open();
    return Promise.resolve(
      [...this.#devices.values()].map((device) => {
        const statistics = device.readStatistics();
        const kinds = STATISTICS_KINDS.map((kind) => [kind, statistics.read(kind)] as const);
        return {
          id: device.id,
          iothreads: device.iothreads,
          invalid: statistics.invalid,
          driverMistakes: statistics.driverMistakes,
          ioStatus: device.ioStatus,
          ...(Object.fromEntries(kinds) as Record<StatisticsKind, KindStatistics>),
        };
      }),
    );
  }

  /** Removes all devices and stops all iothreads. Further calls are refused. */
  close(): Promise<void> {
    return (this.#closed ??= this.#close());
  }

  async #close(): Promise<void> {
    await Promise.allSettled(this.#configuring);
    const devices = await Promise.allSettled([...this.#devices.values()].map((device) => device.detach()));
    this.#devices.clear();
    await Promise.all([...this.#iothreads.values()].map((iothread) => iothread.stop()));
    this.#iothreads.clear();
    // A disk that could not be closed is no reason to leave the workers running, but one to tell.
    for (const device of devices) if (device.status === 'rejected') throw device.reason;
  }

  /** As `close`. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #open(): void {
    if (this.#closed !== undefined)
      throw new IOThreadError('ERR_RUNTIME_CLOSED', 'the runtime has been closed');
  }
}

/** All drives, or none. */
async function holdAll(devices: readonly CheckedDevice[]): Promise<HeldDrive[]> {
  const holding = await Promise.allSettled(devices.map(({ drive, readOnly }) => holdDrive(drive, readOnly)));
  const failed = holding.find((result) => result.status === 'rejected');
  const held = holding.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
  if (failed === undefined) return held;
  await Promise.allSettled(held.map((drive) => drive.close()));
  throw failed.reason;
}
