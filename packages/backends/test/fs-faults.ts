import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';

/** The calls of node:fs through which the file driver does its I/O. */
export type FsCall =
  | 'read'
  | 'readv'
  | 'write'
  | 'writev'
  | 'fdatasync'
  | 'readSync'
  | 'readvSync'
  | 'writeSync'
  | 'writevSync'
  | 'fdatasyncSync';

type AnyFunction = (...args: unknown[]) => unknown;

/**
 * Puts other functions in the place of node:fs's while `body` runs, in all modules that imported them by name.
 *
 * @param replace gets the name and the original, and returns what stands in for it
 */
export async function withFs(
  calls: readonly FsCall[],
  replace: (name: FsCall, original: AnyFunction) => AnyFunction,
  body: () => Promise<void>,
): Promise<void> {
  const table = fs as unknown as Record<FsCall, AnyFunction>;
  const originals = calls.map((name): [FsCall, AnyFunction] => [name, table[name]]);
  try {
    for (const [name, original] of originals) table[name] = replace(name, original);
    syncBuiltinESMExports();
    await body();
  } finally {
    for (const [name, original] of originals) table[name] = original;
    syncBuiltinESMExports();
  }
}

/** Stands in for a reading or writing call: moves `limit` bytes at most, as a kernel may at any time. */
export function shortCall(limit: number): (name: FsCall, original: AnyFunction) => AnyFunction {
  return (name, original) => {
    return (...args) => {
      if (name.includes('v')) {
        const [first] = args[1] as Uint8Array[];
        args[1] = [first!.subarray(0, limit)];
      } else {
        args[3] = Math.min(args[3] as number, limit);
      }
      return original(...args);
    };
  };
}

/** Stands in for any call: fails with `code`, by throwing or through the callback. */
export function failingCall(code: string): (name: FsCall) => AnyFunction {
  return (name) => {
    return (...args) => {
      const error = Object.assign(new Error(`${code}: injected`), { code });
      if (name.endsWith('Sync')) throw error;
      setImmediate(args.at(-1) as (error: Error) => void, error);
      return undefined;
    };
  };
}
