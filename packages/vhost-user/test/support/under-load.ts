/** Does `operation` while `workers` repeat `step`, each on its own; ends when all of them have ended their last. */
export async function underLoad(
  workers: number,
  step: (worker: number, round: number) => Promise<void>,
  operation: () => Promise<void>,
): Promise<void> {
  const done = new AbortController();
  const load = Array.from({ length: workers }, async (_, worker) => {
    for (let round = 0; !done.signal.aborted; round++) await step(worker, round);
  });
  try {
    await operation();
  } finally {
    done.abort();
    await Promise.all(load);
  }
}
