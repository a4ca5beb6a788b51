import { BlockOperation, type BlockRequest, type BlockStatus, VIRTIO_BLK_S_OK } from '@iothreads/core';
import type { BlockDriver, BlockDriverContext } from '../block-driver.js';
import { failRequest } from '../driver-error-channel.js';
import { FilterDriver } from '../filter/filter-driver.js';
import { partOf } from '../filter/request-part.js';
import type { Fault, FaultTable } from './fault-table.js';

/** How often requests that hang look whether the rules have changed. */
const LOOK_MS = 5;

/** A request that hangs. */
interface Waiting {
  readonly request: BlockRequest;
  readonly tag: number;
  /** Of the rules that it hangs by. */
  readonly generation: number;
}

/**
 * Fails, delays and holds back requests by rules. What becomes of a request is decided before the disk below sees it; those that
 * no rule is about go there as they came.
 */
export class BlkdebugDriver extends FilterDriver {
  readonly #faults: FaultTable;
  readonly #attend: () => void;
  #hanging: Waiting[] = [];
  #look: NodeJS.Timeout | undefined;
  readonly #timers = new Set<NodeJS.Timeout>();

  constructor(child: BlockDriver, faults: FaultTable, context: BlockDriverContext) {
    super(child);
    this.#faults = faults;
    this.#attend = context.attend;
  }

  /** What hangs, or is late, must not hold up the loop. */
  override get asyncOnly(): boolean {
    return this.#faults.slow || super.asyncOnly;
  }

  submit(requests: readonly BlockRequest[], count: number): void {
    if (!this.#faults.any) {
      this.child.submit(requests, count);
      return;
    }
    // A list of its own: the disk below may complete a request at once, and the device submit the next one meanwhile.
    const passed: BlockRequest[] = [];
    for (let i = 0; i < count; i++) {
      const request = requests[i]!;
      const fault = this.#faults.faultOf(request);
      if (fault === undefined) passed.push(request);
      else this.#begin(request, request.tag, fault);
    }
    if (passed.length > 0) this.child.submit(passed, passed.length);
  }

  override async close(): Promise<void> {
    clearInterval(this.#look);
    for (const timer of this.#timers) clearTimeout(timer);
    await super.close();
  }

  protected execute(request: BlockRequest): BlockStatus {
    const fault = this.#faults.any ? this.#faults.faultOf(request, true) : undefined;
    if (fault === undefined) return this.child.executeSync!(request);
    const beginning = beginningOf(request, fault);
    if (beginning !== undefined) {
      const status = this.child.executeSync!(beginning);
      if (status !== VIRTIO_BLK_S_OK) return failedBelow(request, beginning, status);
    }
    return failRequest('blkdebug', request, fault.error);
  }

  #begin(request: BlockRequest, tag: number, fault: Fault): void {
    if (fault.hang) {
      this.#hang({ request, tag, generation: fault.generation });
    } else if (fault.delayMs === 0) {
      this.#fail(request, tag, fault);
    } else {
      const timer = setTimeout(() => {
        this.#timers.delete(timer);
        if (!isOurs(request, tag)) return;
        if (fault.error === undefined) this.child.submit([request], 1);
        else this.#fail(request, tag, fault);
        // The disk below has a request that the loop knows nothing of.
        this.#attend();
      }, fault.delayMs);
      this.#timers.add(timer);
    }
  }

  #fail(request: BlockRequest, tag: number, fault: Fault): void {
    const beginning = beginningOf(request, fault);
    if (beginning === undefined) {
      request.complete(tag, failRequest('blkdebug', request, fault.error, tag));
      return;
    }
    beginning.owner = {
      requestDone: (_, status) => {
        if (!isOurs(request, tag)) return;
        request.complete(
          tag,
          status === VIRTIO_BLK_S_OK
            ? failRequest('blkdebug', request, fault.error, tag)
            : failedBelow(request, beginning, status),
        );
      },
      completedTwice: () => request.owner!.completedTwice(request),
    };
    this.child.submit([beginning], 1);
  }

  #hang(waiting: Waiting): void {
    this.#hanging.push(waiting);
    // No wake-up: one that nobody gives could not be taken back when the disk is closed.
    this.#look ??= setInterval(() => {
      this.#lookAtRules();
    }, LOOK_MS);
  }

  #lookAtRules(): void {
    const { generation } = this.#faults;
    const freed = this.#hanging.filter((waiting) => waiting.generation !== generation);
    if (freed.length === 0) return;
    this.#hanging = this.#hanging.filter((waiting) => waiting.generation === generation);
    if (this.#hanging.length === 0) {
      clearInterval(this.#look);
      this.#look = undefined;
    }
    const requests = freed.filter(({ request, tag }) => isOurs(request, tag)).map(({ request }) => request);
    this.submit(requests, requests.length);
    this.#attend();
  }
}

/** Whether the device still waits for a request; it may have given it up. */
const isOurs = (request: BlockRequest, tag: number): boolean => request.tag === tag && request.pending;

/** What of a request is to be done before it fails; undefined: nothing. */
const beginningOf = (request: BlockRequest, { shortBytes }: Fault): BlockRequest | undefined =>
  shortBytes === 0 || request.operation === BlockOperation.FLUSH ? undefined : partOf(request, shortBytes);

/** A request fails as its beginning did. */
function failedBelow(request: BlockRequest, beginning: BlockRequest, status: BlockStatus): BlockStatus {
  request.errorCode = beginning.errorCode;
  return status;
}
