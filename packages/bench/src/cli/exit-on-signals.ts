import { constants } from 'node:os';

/** Lets a signal end the process by way of its exit handlers, which clean up, with the status that a shell expects. */
export function exitOnSignals(): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
    process.once(signal, () => process.exit(128 + constants.signals[signal]));
  }
}
