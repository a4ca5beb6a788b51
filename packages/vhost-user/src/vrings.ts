import { hasFeature, VIRTIO_F_VERSION_1 } from '@iothreads/core';
import { type ExportedDevice, type ExportedQueue, IOThreadError, type KeptFate } from '@iothreads/iothread';
import { signalEventfd } from '@iothreads/linux';
import type { InflightRegion } from './inflight-region.js';
import { MemoryTable } from './memory-table.js';
import { VHOST_USER_F_PROTOCOL_FEATURES } from './protocol/protocol-features.js';
import type { VringAddress } from './protocol/vring-payloads.js';
import { protocolError } from './vhost-user-error.js';
import { closeIfAny, NO_FD, Vring } from './vring.js';

/** Why a ring stops: the front end wants it to, or something about it changes, or the connection is gone. */
type StopReason = 'stopped' | 'changed' | 'disconnected';

/**
 * What becomes of requests then that a paused device keeps, since its disk has failed them. A front end that stops a ring wants
 * everything back: they fail. Where something changes they go on with the ring. And for whoever serves the ring after this connection
 * they are left as they are, if it can tell them from others that are in flight.
 * @param recovers whether front and back end share what is in flight (INFLIGHT_SHMFD)
 */
function fateOfKept(why: StopReason, recovers: boolean): KeptFate {
  if (why === 'changed') return 'carry';
  return why === 'disconnected' && recovers ? 'drop' : 'fail';
}

/** The rings of one connection and the memory that they lie in: which of them the device serves, and when. */
export class Vrings {
  readonly #device: ExportedDevice;
  readonly #rings: readonly Vring[];
  #memory = MemoryTable.EMPTY;
  #features = 0n;
  /** Where rings stood that ran was lost with their iothread: none is started before the front end connects again. */
  #lost = false;
  #inflight: InflightRegion | undefined;

  constructor(device: ExportedDevice) {
    this.#device = device;
    this.#rings = Array.from({ length: device.numQueues }, (_, index) => new Vring(index));
  }

  get memory(): MemoryTable {
    return this.#memory;
  }

  /** @throws VhostUserError `ERR_PROTOCOL` when the export has no such ring */
  at(index: number): Vring {
    const ring = this.#rings[index];
    if (ring !== undefined) return ring;
    const { numQueues } = this.#device;
    throw protocolError(
      `front end uses queue ${index}, the export has ${numQueues}: add num-queues=${index + 1} to the export`,
    );
  }

  /** What was negotiated changes for all rings. @param change what else changes before they go on */
  async setFeatures(features: bigint, change: () => void): Promise<void> {
    await this.#startAgain(this.#rings, () => {
      this.#features = features;
      change();
    });
  }

  /** Changes something about rings: those that run are stopped before, and go on afterwards if they still can. */
  async whileStopped(
    rings: readonly Vring[],
    change: () => void,
    why: StopReason = 'changed',
  ): Promise<void> {
    await this.#stop(rings, why);
    change();
    await this.#startComplete();
  }

  #expectKnown(): void {
    if (!this.#lost) return;
    throw new IOThreadError('ERR_IOTHREAD_DIED', 'rings were lost with their iothread');
  }

  /** ... something that makes it worthwhile to try rings again that could not be started. */
  async #startAgain(rings: readonly Vring[], change: () => void, why: StopReason = 'changed'): Promise<void> {
    const changeAll = (): void => {
      for (const ring of rings) ring.refused = false;
      change();
    };
    await this.whileStopped(rings, changeAll, why);
  }

  /** Takes another kick descriptor, and starts the ring. */
  async setKick(ring: Vring, fd: number): Promise<void> {
    await this.#replaceFd(ring, fd, () => {
      ring.setKick(fd);
    });
  }

  async setErr(ring: Vring, fd: number): Promise<void> {
    await this.#replaceFd(ring, fd, () => {
      ring.setErr(fd);
    });
  }

  async #replaceFd(ring: Vring, fd: number, change: () => void): Promise<void> {
    let taken = false;
    try {
      await this.#startAgain([ring], () => {
        change();
        taken = true;
      });
    } finally {
      if (!taken) closeIfAny(fd);
    }
  }

  /** Front ends say so again and again: nothing happens then. */
  async setEnabled(ring: Vring, enabled: boolean): Promise<void> {
    if (ring.enabled === enabled && !ring.refused) return;
    const change = (): void => {
      ring.enabled = enabled;
    };
    await this.#startAgain([ring], change, enabled ? 'changed' : 'stopped');
  }

  /**
   * Another place for a ring. Told at once if that is not in memory; a front end that shares its memory later is told when the ring
   * starts.
   */
  async setAddresses(ring: Vring, addresses: VringAddress): Promise<void> {
    await this.#startAgain([ring], () => {
      ring.addresses = addresses;
    });
    if (this.#memory.regions.length > 0) ring.locate(this.#memory);
  }

  /** A running ring uses another call descriptor at once: front ends change it often. */
  async setCall(ring: Vring, fd: number): Promise<void> {
    const before = ring.replaceCall(fd);
    try {
      if (ring.running) await this.#device.setCall(ring.index, fd);
    } catch (error) {
      ring.linger(before);
      throw error;
    }
    closeIfAny(before);
    // What was completed before it was known may have gone unnoticed: its driver looks once more.
    if (fd !== NO_FD) signalEventfd(fd);
  }

  /** Stops a ring for good, until it is kicked off again. @returns index of the next avail entry to take */
  async stopForGood(ring: Vring): Promise<number> {
    const change = (): void => {
      ring.setKick(undefined);
    };
    await this.whileStopped([ring], change, 'stopped');
    this.#expectKnown();
    return ring.lastAvail;
  }

  /**
   * Other memory, for all rings. What is not in it any more is unmapped.
   * @throws the device's errors; `memory` is what was there before, where the device could not let go of it
   */
  async setMemory(next: MemoryTable): Promise<void> {
    const before = this.#memory;
    await this.#stop(this.#rings, 'changed');
    await this.#device.setMemory(next.regions.map(mappedRegion));
    this.#memory = next;
    for (const region of before.regions) {
      if (!next.regions.includes(region)) region.unmap();
    }
    for (const ring of this.#rings) ring.refused = false;
    await this.#startComplete();
  }

  /** Where requests in flight are kept track of, for all rings. What was there before is unmapped. */
  async setInflight(region: InflightRegion | undefined): Promise<void> {
    let before = region;
    try {
      await this.#startAgain(this.#rings, () => {
        before = this.#inflight;
        this.#inflight = region;
        for (const ring of this.#rings) ring.takesOver = region !== undefined;
      });
    } finally {
      before?.unmap();
    }
  }

  /** The connection is gone: stops everything and gives everything back. @throws as long as requests are in flight */
  async end(): Promise<void> {
    await this.#stop(this.#rings, 'disconnected');
    for (const ring of this.#rings) ring.closeFds();
    await this.setMemory(MemoryTable.EMPTY);
    await this.setInflight(undefined);
  }

  /** Starts all rings that are complete and don't run yet. */
  async #startComplete(): Promise<void> {
    const enabledByDefault = !hasFeature(this.#features, VHOST_USER_F_PROTOCOL_FEATURES);
    const rings = this.#rings.filter(
      (ring) => !ring.running && !ring.refused && ring.isComplete(enabledByDefault),
    );
    if (rings.length === 0) return;
    this.#expectKnown();
    // Until they run: whatever goes wrong on the way, the next message is not to blame for it.
    for (const ring of rings) ring.refused = true;
    if (!hasFeature(this.#features, VIRTIO_F_VERSION_1)) {
      throw protocolError(
        'front end started a ring without VIRTIO_F_VERSION_1: legacy drivers are not served, use disable-legacy=on',
      );
    }
    // Those that lie somewhere impossible keep none of the others from starting.
    const mistakes: unknown[] = [];
    const queues: ExportedQueue[] = [];
    for (const ring of rings) {
      try {
        queues.push(this.#queueOf(ring));
      } catch (error) {
        mistakes.push(error);
      }
    }
    if (queues.length > 0) await this.#device.startQueues(queues);
    for (const { index } of queues) {
      this.#rings[index]!.running = true;
      this.#rings[index]!.refused = false;
      if (this.#rings[index]!.takesOver) this.#callOnce(this.#rings[index]!);
      this.#rings[index]!.takesOver = false;
    }
    if (mistakes.length > 0) throw mistakes[0];
  }

  /** What a back end before this one has completed may have gone unnoticed, if it was killed before it called. */
  #callOnce({ callFd }: Vring): void {
    if (callFd !== NO_FD) signalEventfd(callFd);
  }

  /**
   * The one place that says where a ring goes on. Where another back end has been, nobody but its table knows: front ends send all
   * kinds of things as the base of such a ring.
   */
  #queueOf(ring: Vring): ExportedQueue {
    const addresses = ring.locate(this.#memory);
    const usedIdx = ring.usedIdx(this.#memory, addresses);
    const inflightAddress = this.#inflight?.addressOf(ring.index, ring.size);
    const wasServed = ring.takesOver && this.#inflight!.wasUsed(ring.index);
    return {
      index: ring.index,
      addresses,
      features: this.#features & this.#device.offeredFeatures,
      // What the table has as in flight is added to that.
      state: wasServed
        ? { lastAvail: usedIdx, usedIdx }
        : { lastAvail: ring.lastAvail, usedIdx, held: ring.held },
      inflightAddress,
      kickFd: ring.kickFd ?? NO_FD,
      callFd: ring.callFd,
      errFd: ring.errFd,
    };
  }

  async #stop(rings: readonly Vring[], why: StopReason): Promise<void> {
    const running = rings.filter((ring) => ring.running);
    if (running.length === 0) return;
    const indexes = running.map(({ index }) => index);
    const positions = await this.#device.stopQueues(indexes, fateOfKept(why, this.#inflight !== undefined));
    for (const ring of running) {
      ring.running = false;
      const position = positions.get(ring.index);
      ring.held = position?.held ?? [];
      // What the front end said last is not where it stands: neither is it served from there, nor is the front end told so.
      if (position === undefined) this.#lost = true;
      else ring.lastAvail = position.lastAvail;
    }
  }
}

const mappedRegion = ({ guestAddress, hostAddress, size }: MemoryTable['regions'][number]) => ({
  guestAddress,
  hostAddress,
  size,
});
