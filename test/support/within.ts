/** Against hangs only: far above what anything here takes. */
const DEADLINE_MS = 20_000;

/** A promise that must settle; says what never came when it does not. */
export async function within<Result>(
  promise: Promise<Result>,
  what: string,
  why: () => string | undefined = () => undefined,
): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`${what} never came: ${why() ?? 'nothing more is known'}`));
    }, DEADLINE_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** Looks again and again until it is so; says what is known when that never comes. */
export async function until(
  what: string,
  isSo: () => boolean | Promise<boolean>,
  why: () => string = () => 'nothing more is known',
): Promise<void> {
  const deadline = Date.now() + DEADLINE_MS;
  while (!(await isSo())) {
    if (Date.now() > deadline) throw new Error(`${what} never came: ${why()}`);
    await new Promise((resolve) => {
      setTimeout(resolve, 1);
    });
  }
}
