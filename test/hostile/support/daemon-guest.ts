import { featureSet, RING_IDX, VIRTIO_F_EVENT_IDX, VIRTIO_F_INDIRECT_DESC } from '@iothreads/core';
import { clearEventfd, closeFd, createEventfd, waitReadable } from '@iothreads/linux';
import { type FrontEndOptions, VhostUserFrontEnd } from '@iothreads/vhost-user/front-end';
import {
  type Completion,
  HostileGuest,
  REGIONS,
} from '../../../packages/core/test/robustness/hostile-guest.js';
import type { GuestRange } from '../../../packages/core/test/support/memory-snapshot.js';
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

  /** Connects to a disk's export, with everything on it as it was at first. */
  static async connect(
    disk: HostileDisk,
    { queueSize = 8, indirect = true }: RingTraits = {},
    more: FrontEndOptions = {},
  ): Promise<DaemonGuest> {
    disk.restore();
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
    return this.completions(heads.length);
  }

  /** Waits for so many completions, or for the ring to be broken. @returns what has completed and was not taken yet */
  async completions(count: number): Promise<Completion[]> {
    const completions: Completion[] = [];
    await until(
      `${count} completions`,
      () => {
        completions.push(...this.takeCompletions());
        return completions.length >= count || this.broken;
      },
      () => `there were ${completions.length}`,
    );
    return completions;
  }

  /** The other queues are sound: what lies between the first one and this guest's own buffers is theirs. */
  override strayWrites(...allowed: GuestRange[]): number[] {
    const others = this.frontEnd.queues[1]?.addresses.descriptorTable ?? this.header;
    return super.strayWrites(...allowed, [others, this.header - others]);
  }

  /** Makes heads available, and lies about how many there are where `availIdx` is given; kicks. */
  lie(heads: readonly number[], availIdx?: number): void {
    this.offer(heads);
    if (availIdx !== undefined) this.availIdx = availIdx;
    this.frontEnd.queues[0]!.kick();
  }

  /** A ring that was stopped begins anew behind all that was made available, as if it had all been used. */
  async startAnew(offered: number): Promise<void> {
    clearEventfd(this.#errFd);
    this.availIdx = offered;
    this.driver.ring.used16[RING_IDX] = offered;
    this.takeCompletions();
    await this.frontEnd.startQueue(0, offered);
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
