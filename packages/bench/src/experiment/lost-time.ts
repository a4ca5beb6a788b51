const SPIN_MS = 300;
/** Longer between two readings of the clock than this, and the thread was not running. */
const GAP_MS = 0.02;

/** Spins for a moment. @returns the share of that time in which this thread did not run, percent, to a tenth */
export function measureLostTime(): number {
  const beganMs = performance.now();
  let lastMs = beganMs;
  let lostMs = 0;
  while (lastMs - beganMs < SPIN_MS) {
    const nowMs = performance.now();
    if (nowMs - lastMs > GAP_MS) lostMs += nowMs - lastMs;
    lastMs = nowMs;
  }
  return Math.round((1000 * lostMs) / (lastMs - beganMs)) / 10;
}
