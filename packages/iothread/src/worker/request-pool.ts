import { BlockRequest, type RequestOwner } from '@iothreads/core';

/** 30 bits: stays a small integer, and a driver would have to be late by a thousand million requests to be mistaken. */
export const nextTag = (tag: number): number => (tag + 1) & 0x3fff_ffff;

/** Requests of one device, used again and again: nothing is allocated once the pool is as large as the load needs. */
export class RequestPool {
  readonly #owner: RequestOwner;
  readonly #all: BlockRequest[] = [];
  readonly #free: BlockRequest[] = [];

  constructor(owner: RequestOwner) {
    this.#owner = owner;
  }

  take(): BlockRequest {
    const request = this.#free.pop() ?? this.#make();
    request.owner = this.#owner;
    request.tag = nextTag(request.tag);
    request.errorCode = '';
    return request;
  }

  #make(): BlockRequest {
    const request = new BlockRequest();
    this.#all.push(request);
    return request;
  }

  /** Takes back from the driver what it has not completed: the completion will be too late, and it can know that. */
  revoke(): void {
    for (const request of this.#all) request.pending = false;
  }

  /** No request refers to guest memory any more: none is in flight. What was abandoned keeps what its driver may use. */
  forgetMemory(): void {
    for (const request of this.#free) {
      request.readable.forget();
      request.writable.forget();
      request.statusRegion = undefined;
    }
  }

  /** Only requests that no driver holds: what a driver never completed must not be used again. */
  release(request: BlockRequest): void {
    this.#free.push(request);
  }
}
