import { Guest, type GuestKit, type GuestOptions, type GuestResults } from '@iothreads/bench/v86-guest';
import { Machine } from './machine.js';

const DISK_BYTES = 1 << 20;

/**
 * A guest that has booted, to be copied: a boot takes longer than most of what guests do afterwards. It boots with two disks, as guests
 * do, and is copied without them: each copy finds those that it gets while it runs.
 */
export class BootedGuest {
  /** What it saw of its disks when it had booted: of each, the number of its sectors, and its serial; the lines of all interrupts. */
  readonly booted: GuestResults;
  /** What is left in `/sys/block` of disks that were taken away. */
  readonly left: GuestResults;
  readonly #kit: GuestKit;
  readonly #state: ArrayBuffer;

  private constructor(kit: GuestKit, state: ArrayBuffer, booted: GuestResults, left: GuestResults) {
    this.#kit = kit;
    this.#state = state;
    this.booted = booted;
    this.left = left;
  }

  static async boot(kit: GuestKit, files: NonNullable<GuestOptions['files']>): Promise<BootedGuest> {
    await using machine = await Machine.create((options) => Guest.create(kit, options), { disks: [], files });
    const { guest } = machine;
    const disks = [];
    for (const id of ['vda', 'vdb']) {
      disks.push(await machine.attach(guest.machine, { id, drive: { driver: 'memory', size: DISK_BYTES } }));
    }
    await guest.start();
    const booted = await guest.run(`
      result vda "$(disk vda size) $(disk vda serial)"
      result vdb "$(disk vdb size) $(disk vdb serial)"
      result lines "$(grep virtio /proc/interrupts | cut -d : -f 1 | tr -d ' \\n')"
    `);
    const left = await guest.run(`
      for disk in vda vdb; do echo 1 >$(readlink -f /sys/block/$disk/device)/../remove; done
      result disks "$(ls /sys/block | grep -c vd || true)"
    `);
    for (const disk of disks) disk.detach();
    await guest.machine.stop();
    return new BootedGuest(kit, await guest.machine.save_state(), booted, left);
  }

  /** Another guest that has booted; it has found the disks that `attach` gives it. */
  async copy({ attach, ...options }: GuestOptions): Promise<Guest> {
    const guest = await Guest.create(this.#kit, options);
    try {
      await guest.machine.restore_state(this.#state);
      await attach?.(guest.machine);
      void guest.machine.run();
      await guest.run('echo 1 >/sys/bus/pci/rescan');
      return guest;
    } catch (error) {
      await guest[Symbol.asyncDispose]();
      throw error;
    }
  }
}
