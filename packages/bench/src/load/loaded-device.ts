import { startDevice } from '@iothreads/core/testing';
import type { BlockDevice, DeviceOptions, IOThreadRuntime } from '@iothreads/iothread';
import { forceDispatch } from '@iothreads/iothread/testing';
import type { Mode } from '../results.js';
import { createGuestMemory, layOut, QUEUE_SIZE } from './guest-layout.js';
import type { DeviceLoad } from './load.js';

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

function readCapacityBytes(device: BlockDevice): number {
  const bytes = new Uint8Array(8);
  device.virtio.config.read(0, bytes);
  return Number(new DataView(bytes.buffer).getBigUint64(0, true)) * 512;
}
