import { BlockOperation } from '@iothreads/core';

/** The words that `werror` takes. */
export const WRITE_ERROR_POLICIES = ['report', 'ignore', 'enospc', 'stop'] as const;
/** What becomes of a write, a flush, a discard or a write of zeroes that the disk has failed: QEMU's `werror`. */
export type WriteErrorPolicy = (typeof WRITE_ERROR_POLICIES)[number];

/** The words that `rerror` takes. */
export const READ_ERROR_POLICIES = ['report', 'ignore', 'stop'] as const;
/** What becomes of a read that the disk has failed: QEMU's `rerror`. */
export type ReadErrorPolicy = (typeof READ_ERROR_POLICIES)[number];

/** What becomes of requests that a device's disk has failed. */
export interface ErrorPolicies {
  readonly werror: WriteErrorPolicy;
  readonly rerror: ReadErrorPolicy;
}

/** The guest is told, or is told that all is well, or the request is kept and the device paused. */
export type IOErrorAction = 'report' | 'ignore' | 'stop';

/** Errors that somebody can mend by making room. */
const NO_SPACE: ReadonlySet<string> = new Set(['ENOSPC', 'EDQUOT']);

export const isNoSpace = (errorCode: string): boolean => NO_SPACE.has(errorCode);

export function actionOn(
  { werror, rerror }: ErrorPolicies,
  operation: BlockOperation,
  errorCode: string,
): IOErrorAction {
  if (operation === BlockOperation.READ) return rerror;
  if (werror !== 'enospc') return werror;
  return isNoSpace(errorCode) ? 'stop' : 'report';
}
