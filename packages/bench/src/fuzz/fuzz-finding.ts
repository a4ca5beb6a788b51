import type { SurfaceName } from './surface.js';

/** Which case broke something, and how to play it again. */
export class FuzzFinding extends Error {
  override readonly name = 'FuzzFinding';

  /**
   * @param what went wrong
   * @param each the case, made as small as possible
   */
  constructor(surface: SurfaceName, seed: number, index: number, what: string, each: unknown) {
    super(
      `surface ${surface}, seed ${seed}, case ${index}: ${what}\n` +
        `again: npm run fuzz -- --surface ${surface} --seed ${seed} --case ${index}\n` +
        `for the corpus: ${JSON.stringify({ surface, what: '?', case: each })}`,
    );
  }
}
