import { closeSync, openSync, writeSync } from 'node:fs';

/** Tells a child on which descriptor its parent waits. */
export const READY_FD = 'IOTHREADS_STORAGE_DAEMON_READY_FD';

const STDERR = 2;

/** Where our parent waits, in a child; read once, so that nobody below us takes it for theirs. */
const readyFd = takeReadyFd();

function takeReadyFd(): number | undefined {
  const text = process.env[READY_FD];
  delete process.env[READY_FD];
  return text === undefined || !/^\d{1,4}$/.test(text) ? undefined : Number(text);
}

/** Whether this process is what a `--daemonize` has started. */
export const isDaemon = (): boolean => readyFd !== undefined;

/** In a child: lets the parent go, and lets go of the terminal. @throws a system error where the parent is gone */
export function tellParent(): void {
  if (readyFd === undefined) return;
  // Fails where the parent has been killed: then nobody wants a daemon any more.
  writeSync(readyFd, 'ready');
  closeSync(readyFd);
  leaveTerminal();
}

/** From now on standard output and error lead nowhere. */
export function leaveTerminal(): void {
  for (const fd of [1, STDERR]) {
    closeSync(fd);
    // Takes the lowest number that is free: this one.
    openSync('/dev/null', 'w');
  }
}
