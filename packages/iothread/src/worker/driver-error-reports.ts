import { DRIVER_ERROR_CHANNEL, type DriverErrorMessage } from '@iothreads/backends';
import { subscribe } from 'node:diagnostics_channel';
import type { MessagePort } from 'node:worker_threads';

/** Why a disk failed a request, as the owner of the runtime hears of it. */
export interface DriverErrorReport {
  readonly driver: string;
  readonly operation: DriverErrorMessage['operation'];
  readonly message: string;
  /** Reports that were left out since the last one: a disk that fails everything must not flood anybody. */
  readonly suppressed: number;
}

export const REPORTS_PER_SECOND = 10;

/** Sends what this thread's drivers publish to the thread that owns the runtime, so many a second. */
export function sendDriverErrors(port: MessagePort): void {
  let windowMs = -Infinity;
  let sent = 0;
  let suppressed = 0;
  subscribe(DRIVER_ERROR_CHANNEL, (published) => {
    const { driver, operation, error } = published as DriverErrorMessage;
    const nowMs = performance.now();
    if (nowMs - windowMs >= 1000) {
      windowMs = nowMs;
      sent = 0;
    }
    if (sent >= REPORTS_PER_SECOND) {
      suppressed++;
      return;
    }
    sent++;
    const message = error instanceof Error ? error.message : String(error);
    const report: DriverErrorReport = { driver, operation, message, suppressed };
    suppressed = 0;
    port.postMessage(report);
  });
}
