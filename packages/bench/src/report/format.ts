/** What stands in place of a figure that was not measured. */
export const MISSING = '–';

/** A latency in µs without its unit: two decimals below 10, one below 100, none above, a power from a second on. */
export function formatMicros(us: number | undefined): string {
  if (us === undefined || !Number.isFinite(us)) return MISSING;
  if (us < 9.995) return us.toFixed(2);
  if (us < 99.95) return us.toFixed(1);
  return us < 999_999.5 ? formatCount(us) : `${(us / 1e6).toPrecision(3)}e6`;
}

/** A latency with the unit that keeps it short: ns, µs or ms. */
export function formatLatency(us: number | undefined): string {
  if (us === undefined || !Number.isFinite(us)) return MISSING;
  if (us < 0.9995) return `${Math.round(us * 1000)} ns`;
  return us < 999.5 ? `${formatMicros(us)} µs` : `${formatMicros(us / 1000)} ms`;
}

/** A whole number with its thousands grouped. */
export function formatCount(count: number | undefined): string {
  if (count === undefined || !Number.isFinite(count)) return MISSING;
  return String(Math.round(count)).replace(/\B(?=(\d{3})+$)/g, ',');
}

/** A share of 1 in percent. 0 % and 100 % mean exactly that, which is why almost none and almost all look different. */
export function formatShare(share: number | undefined): string {
  if (share === undefined || !Number.isFinite(share)) return MISSING;
  const percent = share * 100;
  if (percent === 0 || percent === 100) return `${percent} %`;
  if (percent < 0.1) return '<0.1 %';
  if (percent > 99.9) return '>99.9 %';
  return `${percent.toFixed(1)} %`;
}

/** A ratio as the change from 1 in percent, with its sign. */
export function formatChange(ratio: number): string {
  if (!Number.isFinite(ratio)) return MISSING;
  const percent = Math.round((ratio - 1) * 100);
  if (percent === 0) return '±0 %';
  return `${percent < 0 ? '−' : '+'}${Math.abs(percent)} %`;
}

/** `1 job`, `2 jobs`. */
export function formatJobs(jobs: number): string {
  return jobs === 1 ? '1 job' : `${jobs} jobs`;
}
