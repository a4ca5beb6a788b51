import type { Random } from '../stress/random.js';

/** What is fuzzed. */
export const SURFACE_NAMES = [
  'ring',
  'shift',
  'request',
  'race',
  'message',
  'daemon',
  'qmp',
  'command',
  'keyval',
] as const;
export type SurfaceName = (typeof SURFACE_NAMES)[number];

/** JSON: a case can be kept in a file and played again. */
export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/**
 * A part of the product that takes what others wrote. A case is a few inputs in a row, and follows from a seed and its index alone; it
 * begins with everything as new.
 */
export interface FuzzSurface<Case = unknown> {
  /** Makes a case; JSON. */
  make(random: Random): Case;
  /**
   * Gives a case to the code under test.
   * @returns how many inputs that has consumed
   * @throws Error at the first thing that is wrong
   */
  play(each: Case): number | Promise<number>;
  /** Looks for what only shows after many cases. @throws Error */
  settle?(): Promise<void>;
  close?(): Promise<void>;
}
