/** Seed of every random test: set SEED to play a failure again. */
export const seed =
  process.env['SEED'] === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(process.env['SEED']);

/** What a random test is called: its name says how to play it again. */
export const seeded = (name: string): string => `${name} (SEED=${seed})`;

/** A small generator (mulberry32). @returns integers in [0, below) */
export function randomIntegers(start: number = seed): (below: number) => number {
  let state = start >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}
