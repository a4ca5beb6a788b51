import type { Guest, GuestOptions } from '@iothreads/bench/v86-guest';
import { type BlockDevice, type DeviceOptions, IOThreadRuntime } from '@iothreads/iothread';
import { attachDisk, type BounceOptions, guestMemory } from '@iothreads/v86';

/** A disk of a machine's: the guest sees them in this order, as `vda`, `vdb` and so on. */
export interface MachineDisk
  extends Pick<DeviceOptions, 'id' | 'drive' | 'completion' | 'numQueues'>, BounceOptions {
  /** Default `iothread0`. */
  readonly iothread?: string;
}

export interface MachineOptions extends Omit<GuestOptions, 'attach'> {
  /** `iothread0` and `iothread1` there are. */
  readonly disks: readonly MachineDisk[];
}

/** How a guest comes to be, with the devices that `attach` gives it. */
export type CreateGuest = (options: GuestOptions) => Promise<Guest>;

/** A guest and the runtime that its disks are of. */
export class Machine implements AsyncDisposable {
  readonly runtime = new IOThreadRuntime();
  /** Whatever went wrong and wasn't told to the guest alone. */
  readonly errors: unknown[] = [];
  /** By id. */
  readonly #disks = new Map<string, BlockDevice>();
  #guest: Guest | undefined;

  static async create(createGuest: CreateGuest, { disks, ...options }: MachineOptions): Promise<Machine> {
    const machine = new Machine();
    try {
      await machine.#begin();
      const attach: GuestOptions['attach'] = async (emulator) => {
        for (const disk of disks) await machine.attach(emulator, disk);
      };
      machine.#guest = await createGuest({ ...options, attach });
      return machine;
    } catch (error) {
      await machine[Symbol.asyncDispose]();
      throw error;
    }
  }

  get guest(): Guest {
    return this.#guest!;
  }

  disk(id: string): BlockDevice {
    return this.#disks.get(id)!;
  }

  /** Adds a disk to the runtime and puts it onto an emulator's bus. */
  async attach(
    emulator: Guest['machine'],
    { slots, slotBytes, iothread = 'iothread0', ...device }: MachineDisk,
  ): Promise<ReturnType<typeof attachDisk>> {
    const bounce = {
      ...(slots === undefined ? {} : { slots }),
      ...(slotBytes === undefined ? {} : { slotBytes }),
    };
    const memory = guestMemory(emulator, bounce);
    const added = await this.runtime.addDevice({ ...device, iothread, memory });
    this.#disks.set(device.id, added);
    return attachDisk(emulator, added);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#guest?.[Symbol.asyncDispose]();
    await this.runtime.close();
  }

  async #begin(): Promise<void> {
    for (const id of ['iothread0', 'iothread1']) await this.runtime.addIOThread({ id });
    this.runtime.on('driverError', (_iothread, report) => this.errors.push(report));
    this.runtime.on('deviceError', (_id, error) => this.errors.push(error));
    this.runtime.on('iothreadDied', (_id, error) => this.errors.push(error));
  }
}
