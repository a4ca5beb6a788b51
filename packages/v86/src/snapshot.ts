import type { VirtioPciState } from '@iothreads/core';
import type { BlockDevice, DeviceState } from '@iothreads/iothread';
import type { DiskFunction } from './disk-function.js';
import type { Emulator } from './emulator.js';
import { Machine } from './machine.js';
import { V86Error } from './v86-error.js';

/** A machine with its disks' registers and rings; what is on the disks is not in it. */
export interface Snapshot {
  /** What v86's `save_state` gives. */
  readonly machine: ArrayBuffer;
  readonly disks: readonly DiskState[];
}

/** JSON-safe. */
export interface DiskState {
  readonly slot: number;
  readonly registers: VirtioPciState;
  readonly device: DeviceState;
}

/** A disk whose device is an iothread's. */
interface SavedDisk {
  readonly disk: DiskFunction;
  readonly device: BlockDevice;
}

/**
 * Saves a machine and its disks' state while it stands still, and lets it go on if it was running.
 * @param meanwhile called while nothing is in flight and nobody writes to the disks: the time to copy them
 * @throws V86Error `ERR_EMULATOR`, `ERR_SNAPSHOT`; IOThreadError `ERR_DRAIN_TIMEOUT`
 */
export async function saveSnapshot(emulator: Emulator, meanwhile?: () => Promise<void>): Promise<Snapshot> {
  const saved = savedDisks(emulator);
  return await standingStill(emulator, async () => {
    try {
      // In this order: what comes back to the guest now is in its memory then.
      for (const { device } of saved) await device.quiesce();
      const machine = await emulator.save_state();
      const disks = saved.map(({ disk, device }) => ({
        slot: disk.slot,
        registers: disk.saveRegisters(),
        device: device.saveState(),
      }));
      await meanwhile?.();
      return { machine, disks };
    } finally {
      for (const { device } of saved) await device.resume();
    }
  });
}

/**
 * Takes a machine back to where it was saved: the same machine, or another one with the same options and disks in the same slots. What is
 * on the disks has to be as it was then.
 * @throws V86Error `ERR_EMULATOR`, `ERR_SNAPSHOT`; VirtioError, IOThreadError `ERR_STATE`
 */
export async function restoreSnapshot(emulator: Emulator, snapshot: Snapshot): Promise<void> {
  const attached = new Map(savedDisks(emulator).map((each) => [each.disk.slot, each]));
  const states = snapshot.disks.map((state) => ({ state, ...attached.get(state.slot) }));
  for (const { state, disk } of states) {
    if (disk === undefined)
      throw new V86Error('ERR_SNAPSHOT', `the snapshot has a disk in slot ${state.slot}`);
  }
  await standingStill(emulator, async () => {
    for (const each of attached.values()) await resetDone(each);
    await emulator.restore_state(snapshot.machine);
    for (const { state, disk, device } of states) {
      disk!.restoreRegisters(state.registers);
      device!.restoreState(state.device);
    }
  });
}

function savedDisks(emulator: Emulator): SavedDisk[] {
  return [...Machine.of(emulator).disks].map((disk) => {
    if (!isBlockDevice(disk.device)) {
      throw new V86Error('ERR_SNAPSHOT', `the device in slot ${disk.slot} has no state that could be saved`);
    }
    return { disk, device: disk.device };
  });
}

function isBlockDevice(device: object): device is BlockDevice {
  return 'quiesce' in device && 'saveState' in device && 'restoreState' in device;
}

async function standingStill<T>(emulator: Emulator, action: () => Promise<T>): Promise<T> {
  const wasRunning = emulator.is_running();
  if (wasRunning) await emulator.stop();
  try {
    return await action();
  } finally {
    if (wasRunning) await emulator.run();
  }
}

/** Waits for what is in flight: it must not come to a guest that knows nothing of it. */
async function resetDone({ disk, device }: SavedDisk): Promise<void> {
  disk.reset();
  await device.settled();
  if (device.virtio.status !== 0) {
    throw new V86Error(
      'ERR_SNAPSHOT',
      `the disk in slot ${disk.slot} does not answer: its requests in flight are waited for`,
    );
  }
}
