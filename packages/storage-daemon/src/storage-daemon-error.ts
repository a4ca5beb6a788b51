/** Stable codes of what the storage daemon refuses. */
export type StorageDaemonErrorCode =
  /** A mistake on the command line itself. */
  | 'ERR_USAGE'
  /** A parameter that is missing, unknown or has a value that it doesn't take. */
  | 'ERR_PARAMETER'
  /** Text that is not JSON, or not what the daemon takes for it. */
  | 'ERR_JSON'
  | 'ERR_DUPLICATE_ID'
  | 'ERR_NOT_FOUND'
  /** Something else depends on what was to go or to change. */
  | 'ERR_IN_USE'
  | 'ERR_READ_ONLY'
  /** There are as many of these as a daemon may have. */
  | 'ERR_LIMIT'
  | 'ERR_SOCKET'
  | 'ERR_PIDFILE'
  | 'ERR_DAEMONIZE'
  /** The user that the daemon is to run as can't be had. */
  | 'ERR_PRIVILEGES'
  /** QMP's class CommandNotFound. */
  | 'ERR_COMMAND_NOT_FOUND'
  /** QMP's class DeviceNotFound. */
  | 'ERR_DEVICE_NOT_FOUND'
  | 'ERR_STOPPING'
  /** Known to QEMU's daemon, not done by this one. */
  | 'ERR_NOT_SUPPORTED';

/** Makes sure that there is room for one more. @throws StorageDaemonError `ERR_LIMIT` */
export function checkRoom(count: number, most: number, what: string): void {
  if (count < most) return;
  throw new StorageDaemonError(
    'ERR_LIMIT',
    `there are ${most} ${what} already, more are not possible: remove one`,
  );
}

/** A mistake of whoever uses the daemon: one line that names what is wrong and what to do. */
export class StorageDaemonError extends Error {
  override readonly name = 'StorageDaemonError';
  readonly code: StorageDaemonErrorCode;

  constructor(code: StorageDaemonErrorCode, message: string, options?: ErrorOptions) {
    super(message, options);
    this.code = code;
  }
}
