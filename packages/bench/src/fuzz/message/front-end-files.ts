import {
  closeFd,
  createEventfd,
  createMemfd,
  createSocketPair,
  MemoryMap,
  signalEventfd,
  viewOf,
} from '@iothreads/linux';
import { closeSync, openSync } from 'node:fs';
import {
  type FdKind,
  INFLIGHT,
  INFLIGHT_STRIDE,
  MEMORY_BYTES,
  QUEUES,
  ringAt,
  SMALL_BYTES,
} from './message-case.js';

const HEADERS = 0xc000;
const DATA = 0xd000;
const CHAINS = 3;

/** What a front end has to send along: one of each kind, opened once. Its memory holds rings with requests in them. */
export class FrontEndFiles {
  readonly #fds: Readonly<Record<FdKind, number>>;
  readonly #otherEnd: number;
  readonly #map: MemoryMap;
  readonly #memory: Uint8Array;

  constructor() {
    const [socket, otherEnd] = createSocketPair();
    this.#otherEnd = otherEnd;
    this.#fds = {
      memory: createMemfd('guest-memory', MEMORY_BYTES),
      small: createMemfd('guest-memory', SMALL_BYTES),
      readonly: openSync('/proc/self/exe', 'r'),
      eventfd: createEventfd(),
      socket,
      // Its reading end alone: what writes into it would be told.
      pipe: openSync('/dev/zero', 'r+'),
      null: openSync('/dev/null', 'r+'),
    };
    this.#map = new MemoryMap(this.#fds.memory, MEMORY_BYTES);
    this.#memory = new Uint8Array(viewOf(this.#map.address, MEMORY_BYTES));
  }

  fd(kind: FdKind): number {
    return this.#fds[kind];
  }

  kick(): void {
    signalEventfd(this.#fds.eventfd);
  }

  /** Fresh rings, with requests that wait in them. */
  renew(): void {
    this.#memory.fill(0);
    const view = new DataView(this.#memory.buffer);
    for (let ring = 0; ring < QUEUES; ring++) {
      const table = ringAt(ring);
      for (let chain = 0; chain < CHAINS; chain++) {
        const slot = ring * CHAINS + chain;
        const header = HEADERS + 32 * slot;
        view.setUint32(header, chain % 2, true);
        view.setUint32(header + 8, slot, true);
        const first = 3 * chain;
        const buffers = [
          [header, 16, 1],
          [DATA + 512 * slot, 512, chain % 2 === 0 ? 3 : 1],
          [header + 16, 1, 2],
        ] as const;
        for (const [i, [address, byteLength, flags]] of buffers.entries()) {
          const at = table + 16 * (first + i);
          view.setUint32(at, address, true);
          view.setUint32(at + 8, byteLength, true);
          view.setUint32(at + 12, flags | ((first + i + 1) << 16), true);
        }
        view.setUint16(table + 0x1000 + 4 + 2 * chain, first, true);
      }
      view.setUint16(table + 0x1000 + 2, CHAINS, true);
      // The first is said to have been in flight when the last back end was killed, and so is one that was never made available.
      const inflight = INFLIGHT + ring * INFLIGHT_STRIDE;
      view.setUint16(inflight + 8, 1, true);
      view.setUint16(inflight + 10, 16, true);
      view.setUint16(inflight + 12, 200 * ring, true);
      for (const head of [0, 7]) {
        view.setUint8(inflight + 16 + 16 * head, 1);
        view.setBigUint64(inflight + 16 + 16 * head + 8, 2n ** 64n - BigInt(head), true);
      }
    }
  }

  close(): void {
    this.#map.unmap();
    const { readonly, pipe, null: nothing, ...others } = this.#fds;
    for (const fd of [readonly, pipe, nothing]) closeSync(fd);
    for (const fd of [...Object.values(others), this.#otherEnd]) closeFd(fd);
  }
}
