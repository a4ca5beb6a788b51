/** The name under which the daemon speaks. */
export const PROGRAM = 'iothreads-storage-daemon';

export const VERSION = '0.1.0';

/** The release of qemu-storage-daemon whose command line and QMP these are. */
export const QEMU_VERSION = { major: 7, minor: 2, micro: 0 } as const;
