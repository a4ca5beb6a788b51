/** Of every random test: printed by fast-check when one fails; set SEED to play that failure again. */
const seed =
  process.env['SEED'] === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(process.env['SEED']);

export const propertyOptions = (): { seed: number; numRuns: number } => ({ seed, numRuns: 500 });
