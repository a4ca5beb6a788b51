import { featureSet, VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC } from '@iothreads/core';
import { closeFd, createEventfd, waitReadable } from '@iothreads/linux';
import { type FrontEndOptions, VhostUserFrontEnd } from '@iothreads/vhost-user/front-end';
import {
  type Completion,
  HostileGuest,
  REGIONS,
} from '../../../packages/core/test/robustness/hostile-guest.js';
import type { RingTraits } from '../../../packages/core/test/robustness/row.js';
import { until } from '../../support/within.js';
import type { HostileDisk } from './hostile-disk.js';

/** A hostile driver behind a vhost-user socket: the first queue of a front end of its own. */
export class DaemonGuest extends HostileGuest implements AsyncDisposable {
  readonly frontEnd: VhostUserFrontEnd;
  /** Done while the device serves what was made available. */
  meanwhile: () => Promise<void> = async () => undefined;
  readonly #disk: HostileDisk;
  readonly #errFd: number;

  private constructor(frontEnd: VhostUserFrontEnd, disk: HostileDisk, errFd: number) {
    const { addresses, driver } = frontEnd.queues[0]!;
    super(frontEnd.allocator, addresses, driver.queue);
    this.frontEnd = frontEnd;
    this.#disk = disk;
    this.#errFd = errFd;
  }

  /** Connects to a disk's export; every queue is started. */
  static async connect(
    disk: HostileDisk,
    { queueSize = 8, indirect = true }: RingTraits = {},
    more: FrontEndOptions = {},
  ): Promise<DaemonGuest> {
    const left = featureSet(VIRTIO_F_EVENT_IDX, ...(indirect ? [] : [VIRTIO_F_INDIRECT_DESC]));
    const frontEnd = await VhostUserFrontEnd.connect(disk.socket, {
      regions: REGIONS,
      queueSize,
      depth: 1,
      dataBytes: 512,
      features: ~left,
      ...more,
    });
    const errFd = createEventfd();
    await frontEnd.setErr(0, errFd);
    return new DaemonGuest(frontEnd, disk, errFd);
  }

  override get diskBytes(): Uint8Array | undefined {
    return this.#disk.bytes;
  }

  override async serve(...heads: number[]): Promise<Completion[]> {
    this.offer(heads);
    this.frontEnd.queues[0]!.kick();
    await this.meanwhile();
    const completions: Completion[] = [];
    await until(
      `${heads.length} completions`,
      () => {
        completions.push(...this.takeCompletions());
        return completions.length >= heads.length || this.broken;
      },
      () => `there were ${completions.length}`,
    );
    return completions;
  }

  /** Whether the back end has said that the ring is broken. */
  get broken(): boolean {
    return waitReadable(this.#errFd, 0);
  }

  /** Stops the ring. @returns index of the next avail entry that the device would have taken */
  stop(): Promise<number> {
    return this.frontEnd.getVringBase(0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.frontEnd.close();
    closeFd(this.#errFd);
  }
}
