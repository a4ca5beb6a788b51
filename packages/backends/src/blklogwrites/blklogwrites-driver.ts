import { BlockOperation, type BlockRequest, type BlockStatus, VIRTIO_BLK_S_OK } from '@iothreads/core';
import type { BlockDriver } from '../block-driver.js';
import { failRequest } from '../driver-error-channel.js';
import { FilterDriver } from '../filter/filter-driver.js';
import { partOf } from '../filter/request-part.js';
import type { LogWriter } from './log-writer.js';

/**
 * Writes into a log what changes the disk below, and flushes: each when it is complete, before anybody hears of that, with how far
 * the log was when it reached the disk. What the log can't take fails, although the disk below has done it.
 */
export class BlklogwritesDriver extends FilterDriver {
  readonly #log: LogWriter;

  constructor(child: BlockDriver, log: LogWriter) {
    super(child);
    this.#log = log;
  }

  submit(requests: readonly BlockRequest[], count: number): void {
    const below: BlockRequest[] = [];
    for (let i = 0; i < count; i++) {
      const request = requests[i]!;
      below.push(request.operation === BlockOperation.READ ? request : this.#recorded(request));
    }
    this.child.submit(below, count);
  }

  protected execute(request: BlockRequest): BlockStatus {
    const reached = this.#log.length;
    const status = this.child.executeSync!(request);
    return request.operation === BlockOperation.READ ? status : this.#record(request, reached, status);
  }

  /** A request for the disk below that completes this one when it has been recorded. */
  #recorded(request: BlockRequest): BlockRequest {
    const { tag } = request;
    const reached = this.#log.length;
    const below = partOf(request);
    below.owner = {
      requestDone: (_, status) => {
        const recorded = this.#record(below, reached, status);
        if (request.tag === tag) request.errorCode = below.errorCode;
        request.complete(tag, recorded);
      },
      completedTwice: () => {
        request.owner!.completedTwice(request);
      },
    };
    return below;
  }

  #record(request: BlockRequest, reached: number, status: BlockStatus): BlockStatus {
    if (status !== VIRTIO_BLK_S_OK) return status;
    try {
      this.#log.append(request, reached);
      return status;
    } catch (error) {
      return failRequest('blklogwrites', request, error);
    }
  }
}
