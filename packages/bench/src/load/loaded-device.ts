import { holdDrive } from '@iothreads/backends';
import { startDevice } from '@iothreads/core/testing';
import type { BlockDevice, DeviceOptions, IOThreadRuntime } from '@iothreads/iothread';
import { forceDispatch } from '@iothreads/iothread/testing';
import type { Mode } from '../results.js';
import { createGuestMemory, layOut, QUEUE_SIZE } from './guest-layout.js';
import type { DeviceLoad, QueueEventfds } from './load.js';

const DISPATCH = { aio: 'async', sio: 'sync', auto: 'auto' } as const;

export interface StartedDevice {
  readonly device: BlockDevice;
  /** Resets the device and starts it again, as a guest that reboots: its rings begin anew, what was learnt stays. */
  restart(): Promise<void>;
  /** The load of so many jobs on it. */
  load(jobs: number): DeviceLoad;
}

/** Adds a device with guest memory of its own, and starts it as a driver would. */
export async function addStartedDevice(
  runtime: IOThreadRuntime,
  options: {
    readonly id: string;
    readonly iothread: string;
    readonly drive: DeviceOptions['drive'];
    readonly mode: Mode;
  },
): Promise<StartedDevice> {
  const { mode, ...rest } = options;
  const memory = createGuestMemory();
  const device = await runtime.addDevice({ ...rest, memory, queueSize: QUEUE_SIZE });
  await forceDispatch(runtime, options.id, DISPATCH[mode]);
  const start = async (): Promise<void> => {
    startDevice(device.virtio, layOut(memory, 1).queues);
    await device.settled();
  };
  await start();
  const sizeBytes = readCapacityBytes(device);
  return {
    device,
    load: (jobs) => ({ port: device.port, memory, jobs, sizeBytes }),
    restart: async () => {
      device.virtio.writeStatus(0);
      await device.settled();
      new Uint8Array(memory).fill(0);
      await start();
    },
  };
}

/** A device whose doorbell and interrupt are eventfds, as a driver in another process has it. */
export interface StartedExport extends AsyncDisposable {
  readonly load: DeviceLoad;
  readonly eventfds: QueueEventfds;
}

/** Adds such a device, forced to asynchronous I/O; its guest is in this process nevertheless. Linux only. */
export async function addStartedExport(
  runtime: IOThreadRuntime,
  options: { readonly id: string; readonly iothread: string; readonly drive: DeviceOptions['drive'] },
): Promise<StartedExport> {
  const { addressOf, closeFd, createEventfd } = await import('@iothreads/linux');
  const { id, iothread } = options;
  const drive = await holdDrive(options.drive);
  const device = await runtime.addExport({ id, iothreads: [iothread], drive: drive.prepared });
  await forceDispatch(runtime, id, 'async');
  const memory = createGuestMemory();
  await device.setMemory([{ guestAddress: 0, hostAddress: addressOf(memory), size: memory.byteLength }]);
  const eventfds = { kickFd: createEventfd(), callFd: createEventfd() };
  await device.startQueues([
    {
      index: 0,
      addresses: layOut(memory, 1).queues[0]!,
      features: device.offeredFeatures,
      state: { lastAvail: 0, usedIdx: 0 },
      ...eventfds,
      errFd: -1,
    },
  ]);
  return {
    load: { port: device.port, memory, jobs: 1, sizeBytes: drive.prepared.geometry.sizeBytes },
    eventfds,
    [Symbol.asyncDispose]: async () => {
      await runtime.removeDevice(id);
      await drive.close();
      closeFd(eventfds.kickFd);
      closeFd(eventfds.callFd);
    },
  };
}

function readCapacityBytes(device: BlockDevice): number {
  const bytes = new Uint8Array(8);
  device.virtio.config.read(0, bytes);
  return Number(new DataView(bytes.buffer).getBigUint64(0, true)) * 512;
}
