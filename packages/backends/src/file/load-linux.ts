import type * as linux from '@iothreads/linux';

export type Linux = typeof linux;

/** What stands in for the system calls where there are none: why. */
export interface NoLinux {
  readonly reason: string;
}

let loading: Promise<Linux | NoLinux> | undefined;

/** The system calls, loaded when first needed: everything works without them, less well. */
export function loadLinux(): Promise<Linux | NoLinux> {
  return (loading ??= load());
}

async function load(): Promise<Linux | NoLinux> {
  if (process.platform !== 'linux') return { reason: `this is ${process.platform}, not Linux` };
  try {
    return await import('@iothreads/linux');
  } catch (error) {
    const [line] = (error instanceof Error ? error.message : String(error)).split('\n');
    return { reason: `the package @iothreads/linux can't be loaded: ${line}` };
  }
}
