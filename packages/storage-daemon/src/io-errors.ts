import type { IOErrorReport } from '@iothreads/iothread';
import { getSystemErrorMap } from 'node:util';
import type { Log } from './log.js';

/** What an errno name says; the name itself where it is none. */
function reasonOf(errorCode: string): string {
  for (const [name, message] of getSystemErrorMap().values()) if (name === errorCode) return message;
  return errorCode;
}

/** QEMU's event BLOCK_IO_ERROR. Exports have no place in its object tree. */
export const ioErrorEvent = (id: string, nodeName: string, report: IOErrorReport): object => ({
  'qom-path': '',
  device: id,
  'node-name': nodeName,
  operation: report.operation === 'READ' ? 'read' : 'write',
  action: report.action,
  nospace: report.nospace,
  reason: reasonOf(report.errorCode),
});

/** Tells the operator of pauses, and of guests that suffer because there was none. */
export class IOErrors {
  readonly #log: (level: 'error', message: string) => void;
  /** Exports whose guests have been told that there is no space left. */
  readonly #full = new Set<string>();

  constructor(log: Log) {
    // A guest that resets its device has it paused anew as often as it likes.
    this.#log = log.limited();
  }

  log(id: string, { operation, errorCode, action, nospace, paused }: IOErrorReport): void {
    const failed = `${operation} has failed with ${errorCode} (${reasonOf(errorCode)})`;
    if (paused) {
      const mend = nospace ? 'make room' : 'mend that';
      this.#log('error', `export '${id}': paused, ${failed}: ${mend}, then say cont over QMP`);
    } else if (nospace && action === 'report' && !this.#full.has(id)) {
      this.#full.add(id);
      this.#log(
        'error',
        `export '${id}': ${failed}, and its guest was told; with werror=enospc it would wait`,
      );
    }
  }
}
