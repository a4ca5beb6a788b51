import { type BlockRequest, type BlockStatus, DispatchPolicy, VIRTIO_BLK_S_OK } from '@iothreads/core';

/** Who decides between sync and async. Only benches and tests ask for anything but `auto`. */
export type DispatchMode = 'auto' | 'sync' | 'async';

/** Splits a device's batches between the loop itself and the driver's own time, and learns from how long they took. */
export class Dispatcher {
  readonly #policy = new DispatchPolicy();
  mode: DispatchMode = 'auto';
  /** What `split` found is to be done synchronously: the first `syncCount`. */
  readonly sync: BlockRequest[] = [];
  syncCount = 0;
  /** ... and asynchronously: the first `asyncCount`. */
  readonly async: BlockRequest[] = [];
  asyncCount = 0;

  /**
   * @param count requests in the batch
   * @param outstanding requests popped or in flight on the device, these included
   * @param canSync whether the driver can do a request on the spot
   * @param shared whether other devices are attached to the iothread: never sync then
   */
  split(
    batch: readonly BlockRequest[],
    count: number,
    outstanding: number,
    canSync: boolean,
    shared: boolean,
    nowNs: number,
  ): void {
    this.syncCount = this.asyncCount = 0;
    // Kinds of request cost differently: each run of one kind is decided on by itself.
    for (let i = 0; i < count;) {
      const kind = batch[i]!.operation;
      let end = i + 1;
      while (end < count && batch[end]!.operation === kind) end++;
      const sync =
        this.mode === 'auto'
          ? this.#policy.decide(kind, outstanding, canSync && !shared, nowNs, end - i)
          : this.mode === 'sync' && canSync;
      // A synchronous trial is a few requests; those behind it go the usual way.
      const { trial } = this.#policy;
      const syncEnd = !sync ? i : this.mode === 'auto' && trial > 0 ? i + trial : end;
      while (i < syncEnd) this.sync[this.syncCount++] = batch[i++]!;
      while (i < end) this.async[this.asyncCount++] = batch[i++]!;
    }
  }

  /** A request that was split off has been done, at `endNs`. */
  learn(request: BlockRequest, status: BlockStatus, endNs: number): void {
    const kind = request.operation;
    const tookNs = endNs - request.submittedNs;
    if (status !== VIRTIO_BLK_S_OK) this.#policy.failed(kind);
    else if (request.sync) this.#policy.syncTook(kind, tookNs / request.company, endNs);
    else this.#policy.asyncTook(kind, tookNs, endNs, request.company);
  }
}
