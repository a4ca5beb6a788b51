import type { DriverErrorMessage } from '@iothreads/backends';
import type { IOErrorAction } from '../shared/error-policies.js';

/** A request that a device's disk has failed, and what became of it. */
export interface IOErrorReport {
  readonly operation: DriverErrorMessage['operation'];
  readonly action: IOErrorAction;
  /** An errno name, or another code of the disk's own; EIO where it has not said. */
  readonly errorCode: string;
  /** Room can be made: the disk is full, or a quota used up. */
  readonly nospace: boolean;
  /** This is what has paused the device: it takes no requests until it is told to `continue`. */
  readonly paused: boolean;
  /** Reports that were left out since the last one. */
  readonly suppressed: number;
}

const PERIOD_MS = 1000;

/**
 * Tells of a device's failed requests as QEMU does: of the first at once, then of the last in each second. That the device has been
 * paused is told at once in any case.
 */
export class IOErrorReports {
  readonly #tell: (report: IOErrorReport) => void;
  #latest: Omit<IOErrorReport, 'suppressed'> | undefined;
  #suppressed = 0;
  #timer: NodeJS.Timeout | undefined;

  constructor(tell: (report: IOErrorReport) => void) {
    this.#tell = tell;
  }

  add(error: Omit<IOErrorReport, 'suppressed'>): void {
    if (this.#latest !== undefined) this.#suppressed++;
    this.#latest = error;
    if (this.#timer === undefined || error.paused) this.#send();
  }

  #send(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#latest === undefined) return;
    this.#tell({ ...this.#latest, suppressed: this.#suppressed });
    this.#latest = undefined;
    this.#suppressed = 0;
    this.#timer = setTimeout(() => {
      this.#send();
    }, PERIOD_MS).unref();
  }

  /** What has not been told yet is told now. */
  close(): void {
    this.#send();
    clearTimeout(this.#timer);
  }
}
