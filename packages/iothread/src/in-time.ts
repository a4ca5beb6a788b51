/** What `inTime` resolves with when it took too long. */
export const LATE = Symbol('late');

/** What the promise settles with, or `LATE` when that takes longer than `timeoutMs`. */
export async function inTime<Result>(
  promise: Promise<Result>,
  timeoutMs: number,
): Promise<Result | typeof LATE> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<typeof LATE>((resolve) => {
    timer = setTimeout(resolve, timeoutMs, LATE);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
