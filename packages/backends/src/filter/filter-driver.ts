import type { BlockRequest, BlockStatus } from '@iothreads/core';
import type { BlockDriver, BlockGeometry } from '../block-driver.js';

/** A driver over another one, which does the requests. All that has to do with when they are complete is that one's. */
export abstract class FilterDriver implements BlockDriver {
  readonly geometry: BlockGeometry;
  readonly executeSync?: (request: BlockRequest) => BlockStatus;
  readonly poll?: (nowNs: number) => number;
  readonly hasReady?: () => boolean;
  readonly arm?: () => boolean;
  readonly nextReadyNs?: () => number;
  protected readonly child: BlockDriver;

  constructor(child: BlockDriver) {
    this.child = child;
    this.geometry = child.geometry;
    if (child.executeSync !== undefined) this.executeSync = (request) => this.execute(request);
    if (child.poll !== undefined) this.poll = child.poll.bind(child);
    if (child.hasReady !== undefined) this.hasReady = child.hasReady.bind(child);
    if (child.arm !== undefined) this.arm = child.arm.bind(child);
    if (child.nextReadyNs !== undefined) this.nextReadyNs = child.nextReadyNs.bind(child);
  }

  get asyncOnly(): boolean {
    return this.child.asyncOnly === true;
  }

  abstract submit(requests: readonly BlockRequest[], count: number): void;

  close(): Promise<void> {
    return this.child.close();
  }

  /** `executeSync`, which is there if the child's is. */
  protected abstract execute(request: BlockRequest): BlockStatus;
}
