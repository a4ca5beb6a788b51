import type { RegisteredDevice } from '@iothreads/core';
import { DiskFunction } from './disk-function.js';
import type { Emulator } from './emulator.js';

/** A `BlockDevice` of `@iothreads/iothread`, or anything that behaves like one. */
export interface DiskDevice extends RegisteredDevice {
  readonly id?: string;
  /** With 'pull', interrupts come from `drain`, and from `arm` once; with 'wake' by themselves. */
  readonly completion?: 'wake' | 'pull';
  /** Requests that the guest waits for. */
  readonly inFlight?: number;
  /** Takes what has completed: interrupts come from within. */
  drain?(): number;
  /** With 'pull': what completes next interrupts by itself, once. @returns whether something has completed already */
  arm?(): boolean;
}

/** Where a disk is attached, and how long its completions are waited for. */
export interface AttachOptions {
  /** A slot of the PCI bus, 2 to 31; default: a free one whose interrupt line v86's usual devices don't use. */
  readonly slot?: number;
  /**
   * The longest that the emulator's thread looks for completions when its guest has nothing else to do, before it sleeps, nanoseconds;
   * default 100,000, 0 turns it off.
   */
  readonly pollMaxNs?: number;
  /**
   * The longest that it looks for them right after a doorbell, before its guest goes on, nanoseconds; default 50,000, 0 turns it off. To put
   * a task to sleep and wake it up takes an emulated processor longer than a quick disk.
   */
  readonly kickPollMaxNs?: number;
}

/** A device on an emulator's PCI bus. */
export interface AttachedDisk {
  readonly device: DiskDevice;
  /** Where on the bus it is. */
  readonly slot: number;
  /** Whether its interrupt pin is high. */
  readonly interrupting: boolean;
  /** Takes the device off the bus, wherever its guest is. The device itself is its owner's. */
  detach(): void;
}

/**
 * Puts a device onto the PCI bus of a loaded emulator, as a modern virtio-blk function. Before the machine runs its BIOS finds it, and may
 * boot from it; later a guest has to look for it (`echo 1 >/sys/bus/pci/rescan`).
 *
 * The device's memory is `guestMemory(emulator)`, its completion best 'pull': completions are taken where v86 looks for interrupts.
 * @throws V86Error `ERR_EMULATOR`, `ERR_SLOT`; VirtioError `ERR_DEVICE_OPTION` for more than 32 queues
 */
export function attachDisk(
  emulator: Emulator,
  device: DiskDevice,
  options: AttachOptions = {},
): AttachedDisk {
  return new DiskFunction(emulator, device, options);
}
