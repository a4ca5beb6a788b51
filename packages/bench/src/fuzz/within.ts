/** Against hangs only: far above what anything takes. */
const DEADLINE_MS = 30_000;

/** A promise that must settle. @throws Error that names what never came */
export async function within<Result>(promise: Promise<Result>, what: string): Promise<Result> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`hangs: ${what} never came`));
    }, DEADLINE_MS);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}
