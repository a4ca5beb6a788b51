import { BlockRequest, type RequestOwner } from '@iothreads/core';

/** Requests of one device, used again and again: nothing is allocated once the pool is as large as the load needs. */
export class RequestPool {
  readonly #owner: RequestOwner;
  readonly #free: BlockRequest[] = [];

  constructor(owner: RequestOwner) {
    this.#owner = owner;
  }

  take(): BlockRequest {
    const request = this.#free.pop() ?? new BlockRequest();
    request.owner = this.#owner;
    // 30 bits: stays a small integer, and a driver would have to be late by a thousand million requests to be mistaken.
    request.tag = (request.tag + 1) & 0x3fff_ffff;
    return request;
  }

  /** Only requests that no driver holds: what a driver never completed must not be used again. */
  release(request: BlockRequest): void {
    this.#free.push(request);
  }
}
