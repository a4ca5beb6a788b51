import type { Random } from '../../stress/random.js';
import { differences } from '../differences.js';
import type { FuzzSurface } from '../surface.js';
import { DeviceSide, diskIn, FRESH_DISK } from './device-side.js';
import { FRESH_RAM, RAM_BYTES } from './guest-ram.js';
import { ReferenceDevice } from './reference-device.js';
import { type RingCase, writeCase } from './ring-case.js';
import { GOOD_CASE, GOOD_RAM, isGood } from './good-case.js';

/**
 * Chains in guest memory, right and wrong: product and reference serve the same ring, and must leave the same memory and the same
 * disk behind, to the last byte.
 */
export class RingSurface implements FuzzSurface<RingCase> {
  readonly make: (random: Random) => RingCase;
  readonly #device: DeviceSide;
  readonly #expectedDisk = new Uint8Array(FRESH_DISK.length);
  readonly #reference = new ReferenceDevice(new Uint8Array(RAM_BYTES), diskIn(this.#expectedDisk));

  private constructor(device: DeviceSide, make: (random: Random) => RingCase) {
    this.#device = device;
    this.make = make;
  }

  static async create(make: (random: Random) => RingCase): Promise<RingSurface> {
    return new RingSurface(await DeviceSide.create(), make);
  }

  play(each: RingCase): number {
    const taken = this.#serve(each);
    // A reset later, with the same memory objects, parser and disk, a good driver is served.
    this.#device.ram.set(GOOD_RAM);
    this.#device.serve(GOOD_CASE, GOOD_CASE.heads.length);
    if (!isGood(this.#device.ram)) throw new Error('a good driver is not served any more');
    return taken;
  }

  #serve(each: RingCase): number {
    const device = this.#device;
    const reference = this.#reference;
    device.ram.set(FRESH_RAM);
    writeCase(each, device.ramView);
    device.disk.set(FRESH_DISK);
    reference.ram.set(device.ram);
    this.#expectedDisk.set(FRESH_DISK);
    // A device may be made to fill its own avail ring by a read: nobody would ever be done with that.
    const bound = 4 * each.queueSize;
    reference.serve(each, bound);
    device.serve(each, bound);
    if (device.taken !== reference.taken || device.broken !== reference.broken) {
      throw new Error(
        `${device.taken} chains taken${device.broken ? ', then broken' : ''}; the reference has taken ` +
          `${reference.taken}${reference.broken ? ', then broken' : ''}`,
      );
    }
    differences('guest memory', device.ram, reference.ram);
    differences('disk', device.disk, this.#expectedDisk);
    // A ring that is found broken at once has been an input as well.
    return Math.max(device.taken, device.broken ? 1 : 0);
  }
}
