import type { Json } from './surface.js';

/** Attempts to make a case smaller. */
const MAX_ATTEMPTS = 3000;

/**
 * Leaves out of a case what is not needed for it to fail: elements of its lists, parts of its texts.
 * @param fails whether a smaller case fails as well
 */
export async function reduceCase(
  each: Json,
  fails: (smaller: Json) => Promise<boolean>,
  endMs: number,
): Promise<Json> {
  let best = each;
  let attempts = 0;
  for (let found = true; found;) {
    found = false;
    for (const smaller of smallerOnes(best)) {
      if (attempts++ >= MAX_ATTEMPTS || performance.now() > endMs) return best;
      if (!(await fails(smaller))) continue;
      best = smaller;
      found = true;
      break;
    }
  }
  return best;
}

/** The case with one thing less, large things first. Tuples, which are lists of numbers, stay as they are. */
function* smallerOnes(value: Json): Generator<Json> {
  if (typeof value === 'string') {
    for (const cut of cuts(value.length)) yield value.slice(0, cut.from) + value.slice(cut.to);
  } else if (Array.isArray(value)) {
    if (value.every((element) => typeof element === 'number')) return;
    const list = value as readonly Json[];
    for (const cut of cuts(list.length)) yield [...list.slice(0, cut.from), ...list.slice(cut.to)];
    for (const [i, element] of list.entries()) {
      for (const smaller of smallerOnes(element)) yield list.with(i, smaller);
    }
  } else if (typeof value === 'object' && value !== null) {
    const fields = value as Readonly<Record<string, Json>>;
    for (const [key, inner] of Object.entries(fields)) {
      for (const smaller of smallerOnes(inner)) yield { ...fields, [key]: smaller };
    }
  }
}

function* cuts(length: number): Generator<{ readonly from: number; readonly to: number }> {
  for (let size = Math.ceil(length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let from = 0; from < length; from += size) yield { from, to: Math.min(length, from + size) };
  }
}
