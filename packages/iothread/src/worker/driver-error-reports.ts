import { DRIVER_ERROR_CHANNEL, type DriverErrorMessage } from '@iothreads/backends';
import { subscribe } from 'node:diagnostics_channel';
import type { MessagePort } from 'node:worker_threads';
import type { IOErrorReport } from './io-error-reports.js';

/** Why a disk failed a request, as the owner of the runtime hears of it. */
export interface DriverErrorReport {
  readonly driver: string;
  readonly operation: DriverErrorMessage['operation'];
  readonly message: string;
  /** Reports that were left out since the last one: a disk that fails everything must not flood anybody. */
  readonly suppressed: number;
}

/** What an iothread tells without being asked. */
export type WorkerReport =
  { readonly driverError: DriverErrorReport } | { readonly device: string; readonly ioError: IOErrorReport };

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
    const report: WorkerReport = { driverError: { driver, operation, message, suppressed } };
    suppressed = 0;
    port.postMessage(report);
  });
}

/** Sends what has become of a device's request that its disk failed; how many are sent is seen to before. */
export function sendIOError(port: MessagePort, device: string, ioError: IOErrorReport): void {
  const report: WorkerReport = { device, ioError };
  port.postMessage(report);
}
