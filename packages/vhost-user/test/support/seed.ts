/** Seed of every random test: printed by fast-check when one fails; set SEED to play that failure again. */
export const seed =
  process.env['SEED'] === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(process.env['SEED']);
