import { BlockDriverError, type DriveOptions, MAX_NESTED_DRIVES, parseDrive } from '@iothreads/backends';
import {
  type BlockdevOptions,
  inheritOptions,
  innerDrive,
  isNested,
  leafOptions,
  nestedOptions,
} from '@iothreads/backends/blockdev';
import { IOThreadError } from '../../iothread-error.js';
import { claim } from '../configuration.js';
import type { MachineDrive } from './machine-schema.js';

/** A drive as devices of the runtime take it. */
export interface ResolvedDrive {
  readonly drive: DriveOptions;
  readonly readOnly: boolean;
}

/** The drives of a machine, and who uses them. */
export class MachineDrives {
  readonly #drives = new Map<string, { readonly drive: MachineDrive; readonly path: string }>();
  /** Who uses a drive, by the drive's id: a path. */
  readonly #users = new Map<string, string>();

  /** @throws IOThreadError `ERR_DUPLICATE_ID` */
  constructor(drives: readonly MachineDrive[]) {
    const ids = new Set<string>();
    for (const [index, drive] of drives.entries()) {
      const path = `drives[${index}]`;
      claim(ids, drive.id, `${path}.id`, 'drive');
      this.#drives.set(drive.id, { drive, path });
    }
  }

  /**
   * Gives a drive to the one who uses it.
   * @param path where it is named
   * @throws IOThreadError `ERR_UNKNOWN_DRIVE`, `ERR_CONFIG`: somebody uses it already, or it can't be had like this
   */
  use(id: string, path: string): ResolvedDrive {
    const resolved = this.#use(id, path, 0);
    const { path: where } = this.#drives.get(id)!;
    try {
      parseDrive(resolved.drive, where);
    } catch (error) {
      if (!(error instanceof BlockDriverError)) throw error;
      throw new IOThreadError('ERR_CONFIG', error.message, { cause: error });
    }
    return resolved;
  }

  /** @throws IOThreadError `ERR_CONFIG`: a drive that no device uses, directly or through others */
  checkAllUsed(): void {
    for (const [id, { path }] of this.#drives) {
      if (this.#users.has(id)) continue;
      throw new IOThreadError(
        'ERR_CONFIG',
        `${path}: no device uses drive '${id}': name it in a device's drive, or leave it out`,
      );
    }
  }

  #use(id: string, path: string, depth: number): ResolvedDrive {
    const found = this.#drives.get(id);
    if (found === undefined) {
      const known = [...this.#drives.keys()].join(', ');
      throw new IOThreadError(
        'ERR_UNKNOWN_DRIVE',
        `${path}: there is no drive '${id}' (${known === '' ? 'there are none at all' : `known: ${known}`})`,
      );
    }
    const user = this.#users.get(id);
    if (user !== undefined) {
      throw new IOThreadError(
        'ERR_CONFIG',
        `${path}: drive '${id}' is used by ${user} already; two users would overwrite each other's data`,
      );
    }
    this.#users.set(id, path);
    return this.#resolve(found.drive, found.path, depth);
  }

  #resolve(options: BlockdevOptions, path: string, depth: number): ResolvedDrive {
    const readOnly = options['read-only'] === true;
    if (!isNested(options)) return { drive: leafOptions(options), readOnly };
    if (depth === MAX_NESTED_DRIVES) throw tooManyNested(path);
    const { option, inner } = innerDrive(options);
    const where = `${path}.${option}`;
    const child =
      typeof inner === 'string'
        ? this.#use(inner, where, depth + 1)
        : this.#resolve(inheritOptions(options, inner), where, depth + 1);
    // What may not be written can't be written from above either.
    return { drive: nestedOptions(options, child.drive), readOnly: readOnly || child.readOnly };
  }
}

export const tooManyNested = (path: string): IOThreadError =>
  new IOThreadError('ERR_CONFIG', `${path}: more than ${MAX_NESTED_DRIVES} drives inside each other`);
