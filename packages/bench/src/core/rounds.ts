const REQUESTS_PER_ROUND = 200_000;
/** Rounds that count, behind one that warms up. */
export const ROUNDS = 9;

/** What a pair of clock readings adds to what lies between them, nanoseconds. */
const clockNs = measureClock();

function measureClock(): number {
  const readings = 1_000_000;
  let sum = 0;
  for (let i = 0; i < readings; i++) {
    const before = performance.now();
    sum += performance.now() - before;
  }
  return (sum * 1e6) / readings;
}

/**
 * Median of the rounds, nanoseconds a request.
 * @param runBatch does one batch, and returns the milliseconds of what is measured of it: around `readings` pairs of clock readings
 */
export function medianNs(batch: number, readings: number, runBatch: (index: number) => number): number {
  const samples: number[] = [];
  const batches = Math.ceil(REQUESTS_PER_ROUND / batch);
  for (let round = 0; round <= ROUNDS; round++) {
    let sumMs = 0;
    for (let i = 0; i < batches; i++) sumMs += runBatch(i);
    if (round > 0) samples.push((sumMs * 1e6) / (batches * batch) - (readings * clockNs) / batch);
  }
  samples.sort((a, b) => a - b);
  return samples[Math.floor(samples.length / 2)]!;
}
