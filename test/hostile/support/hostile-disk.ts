import { readFileSync, writeFileSync } from 'node:fs';
import type { DiskTraits } from '../../../packages/core/test/robustness/disks.js';
import { CAPACITY_SECTORS, freshDisk } from '../../../packages/core/test/robustness/hostile-guest.js';
import { firstDifference } from '../../../packages/core/test/support/first-difference.js';
import { fixture } from '../../support/fixture.js';

/** What a disk is like. Its export's id is its serial number. */
export interface DaemonDiskTraits extends Partial<DiskTraits> {
  /** The `--blockdev` options of a disk that is no image of its own. */
  readonly node?: object;
}

/** What one export serves: an image with a known content, unless it is too large for one. */
export class HostileDisk {
  readonly id: string;
  readonly socket: string;
  readonly #image: string | undefined;
  readonly #node: object;
  readonly #writable: boolean;

  constructor(directory: string, id: string, traits: DaemonDiskTraits = {}) {
    const { capacitySectors = CAPACITY_SECTORS, discard = true, readOnly = false, node } = traits;
    this.id = id;
    this.socket = `${directory}/${id}.sock`;
    this.#writable = !readOnly;
    const image = `${directory}/${id}.img`;
    const own = capacitySectors === CAPACITY_SECTORS && node === undefined;
    this.#image = own ? image : undefined;
    if (own) writeFileSync(image, freshDisk());
    const options = { path: image };
    if (node !== undefined) this.#node = node;
    else if (!own) this.#node = { driver: 'null-co', size: capacitySectors * 512 };
    else if (discard) this.#node = { driver: 'file', filename: image, discard: 'unmap' };
    else this.#node = { driver: 'module', url: fixture('file-disk.mjs'), options };
  }

  /** Arguments of the daemon that serve it on an iothread. */
  args(iothread: string): string[] {
    const address = `addr.type=unix,addr.path=${this.socket}`;
    const writable = this.#writable ? 'on' : 'off';
    return [
      `--blockdev=${JSON.stringify({ 'node-name': this.id, ...this.#node })}`,
      `--export=type=vhost-user-blk,id=${this.id},node-name=${this.id},writable=${writable},num-queues=2,iothread=${iothread},${address}`,
    ];
  }

  /** What is on it. */
  get bytes(): Uint8Array | undefined {
    return this.#image === undefined ? undefined : readFileSync(this.#image);
  }

  /** Whether not a byte of it has changed. */
  get isFresh(): boolean {
    return firstDifference(this.bytes!, freshDisk()) === -1;
  }

  /** Everything is as it was at first. */
  restore(): void {
    if (this.#image !== undefined) writeFileSync(this.#image, freshDisk(), { flag: 'r+' });
  }
}
