import type { BlockDriverContext } from '@iothreads/backends';
import type { RingRemains } from '@iothreads/linux';
import type { MessagePort } from 'node:worker_threads';

/** What a worker tells of what does not end with it: that there is a ring, or by its descriptor that it is about to close it. */
export type RemainsReport = { readonly opened: RingRemains } | { readonly closing: number };

/** Tells the thread that outlives this one. A message is there by the time that its sender is gone. */
export function tellRemains(port: MessagePort): NonNullable<BlockDriverContext['outlives']> {
  const tell = (report: RemainsReport): void => {
    port.postMessage(report);
  };
  return (remains) => {
    tell({ opened: remains });
    return () => {
      tell({ closing: remains.fd });
    };
  };
}
