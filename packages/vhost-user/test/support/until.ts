/** Against hangs only: far above what anything here takes. */
const DEADLINE_MS = 30_000;

/** Looks again and again until it is so. */
export async function until(what: string, isSo: () => boolean): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS;
  while (!isSo()) {
    if (Date.now() > deadline) throw new Error(`never came: ${what}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 1);
    });
  }
}
