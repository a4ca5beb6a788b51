import {
  BlockOperation,
  BlockRequest,
  type BlockLimits,
  type BlockStatus,
  Popped,
  RequestParser,
  type Virtqueue,
  writeStatus,
} from '@iothreads/core';

/** The canonical loop over one queue, with a disk that is an array of bytes: the smallest device there can be. */
export class InProcessDevice {
  readonly queue: Virtqueue;
  readonly disk: Uint8Array;
  /** Operations that reached the disk, in their order. */
  readonly operations: BlockOperation[] = [];
  /** Chains given back. */
  served = 0;
  interrupts = 0;
  readonly #parser: RequestParser;
  readonly #request = new BlockRequest();

  constructor(queue: Virtqueue, limits: BlockLimits, disk: Uint8Array) {
    this.queue = queue;
    this.disk = disk;
    this.#parser = new RequestParser(limits);
  }

  /** Serves until nothing is available or the queue is broken. */
  run(): void {
    const { queue } = this;
    const request = this.#request;
    do {
      queue.disableNotifications();
      for (let popped = queue.pop(request); popped !== Popped.NONE; popped = queue.pop(request)) {
        if (popped === Popped.BROKEN) break;
        this.#parser.parse(request, popped === Popped.CHAIN);
        const status = request.settled === -1 ? this.#execute(request) : request.settled;
        queue.push(request.head, writeStatus(request, status));
        this.served++;
      }
      if (queue.publish()) this.interrupts++;
    } while (queue.enableNotifications());
  }

  #execute(request: BlockRequest): BlockStatus {
    const { disk } = this;
    this.operations.push(request.operation);
    let at = request.position;
    switch (request.operation) {
      case BlockOperation.READ:
        request.data.copyFrom(disk.subarray(at, at + request.data.byteLength));
        return 0;
      case BlockOperation.WRITE:
        for (const view of request.data.views()) {
          disk.set(view, at);
          at += view.length;
        }
        return 0;
      case BlockOperation.DISCARD:
      case BlockOperation.WRITE_ZEROES:
        for (let i = 0; i < request.rangeCount; i++) {
          const from = request.rangePositions[i]!;
          disk.fill(0, from, from + request.rangeLengths[i]!);
        }
        return 0;
      case BlockOperation.FLUSH:
        return 0;
      default:
        throw new Error(`operation ${request.operation} must not reach a driver`);
    }
  }
}
