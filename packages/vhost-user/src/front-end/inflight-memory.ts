import { closeFd, MemoryMap, viewOf } from '@iothreads/linux';
import { decodeInflight, encodeInflight, type InflightDescription } from '../protocol/inflight-payload.js';
import { Request } from '../protocol/requests.js';
import type { FrontEndRequests } from './front-end-requests.js';

/** What a back end writes down about requests in flight, kept for the one after it ("Inflight I/O tracking"). */
export class InflightMemory {
  readonly #description: InflightDescription;
  readonly #fd: number;
  readonly #map: MemoryMap;

  private constructor(description: InflightDescription, fd: number) {
    this.#description = description;
    this.#fd = fd;
    try {
      this.#map = new MemoryMap(fd, description.mmapSize, description.mmapOffset);
    } catch (error) {
      closeFd(fd);
      throw error;
    }
  }

  /** GET_INFLIGHT_FD: the back end makes it. @throws VhostUserError */
  static async ask(
    requests: FrontEndRequests,
    numQueues: number,
    queueSize: number,
  ): Promise<InflightMemory> {
    const question = encodeInflight({ mmapSize: 0, mmapOffset: 0, numQueues, queueSize });
    const { payload, fd } = await requests.askForFd(Request.GET_INFLIGHT_FD, question);
    return new InflightMemory(decodeInflight(payload), fd);
  }

  /** SET_INFLIGHT_FD: the back end is to use it, and to go on with what it finds there. */
  handOver(requests: FrontEndRequests): Promise<void> {
    return requests.tell(Request.SET_INFLIGHT_FD, encodeInflight(this.#description), [this.#fd]);
  }

  /** Its bytes, for tests that look or meddle. Not to be used after `close`. */
  get bytes(): Uint8Array {
    return new Uint8Array(viewOf(this.#map.address, this.#description.mmapSize));
  }

  /** Gives it back; what it says of requests is gone with it. */
  close(): void {
    this.#map.unmap();
    closeFd(this.#fd);
  }
}
