import { BlockOperation, type BlockRequest, type BlockStatus, VIRTIO_BLK_S_IOERR } from '@iothreads/core';
import { channel } from 'node:diagnostics_channel';

/** The `node:diagnostics_channel` on which drivers say why a request failed: the guest is told IOERR and no more. */
export const DRIVER_ERROR_CHANNEL = 'iothreads:driver-error';

/** The name of a `BlockOperation`. */
export type BlockOperationName = keyof typeof BlockOperation;

/** A message on `DRIVER_ERROR_CHANNEL`, published on the iothread's own thread, one for each failed request. */
export interface DriverErrorMessage {
  /** Name of the driver. */
  readonly driver: string;
  /** What was thrown, or what a promise was rejected with: anything at all for a user's own disk. */
  readonly error: unknown;
  readonly operation: BlockOperationName;
}

const errors = channel(DRIVER_ERROR_CHANNEL);
const names = Object.keys(BlockOperation) as BlockOperationName[];

/** A `BlockOperation`'s name. */
export const operationName = (operation: BlockOperation): BlockOperationName =>
  names.find((name) => BlockOperation[name] === operation)!;

/** Publishes a failed request's error; costs next to nothing while nobody subscribes. */
export function reportDriverError(driver: string, operation: BlockOperation, error: unknown): void {
  if (!errors.hasSubscribers) return;
  const message: DriverErrorMessage = {
    driver,
    error,
    operation: operationName(operation),
  };
  errors.publish(message);
}

/**
 * A driver fails a request: the device learns the error's `code`, whoever subscribes to the channel the error.
 * @param tag the `tag` it had when it was submitted
 * @returns the status to complete it with
 */
export function failRequest(
  driver: string,
  request: BlockRequest,
  error: unknown,
  tag: number = request.tag,
): BlockStatus {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  if (tag === request.tag) request.errorCode = typeof code === 'string' ? code : '';
  reportDriverError(driver, request.operation, error);
  return VIRTIO_BLK_S_IOERR;
}
