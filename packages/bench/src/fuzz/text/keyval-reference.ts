import type { KeyvalSyntax } from './storage-daemon-parts.js';

/** What options mean: text, or a map whose keys are in the order in which they came. */
type Meaning = string | Map<string, Meaning>;

const NAME = /^[A-Za-z][A-Za-z0-9_-]{0,126}$/;
const NUMBER = /^(0|[1-9][0-9]{0,3})$/;
const MOST_PARTS = 32;

/**
 * `key=value,…` as QEMU documents it, written with expressions instead of a scan.
 * @returns JSON of what it means, undefined where it is a mistake
 */
export function keyvalReference(text: string, { impliedKey, switches }: KeyvalSyntax): string | undefined {
  const root = new Map<string, Meaning>();
  let rest = text;
  while (rest !== '') {
    const [, given = '', equals] = /^([^=,]*)(=?)/s.exec(rest)!;
    let key = given;
    let value: string | undefined;
    if (equals === '=') rest = rest.slice(given.length + 1);
    else if (rest.length === text.length && given !== '' && impliedKey !== undefined) key = impliedKey;
    else if (switches === true && NAME.test(given)) {
      const negated = given.startsWith('no') && given.length > 2;
      key = negated ? given.slice(2) : given;
      value = negated ? 'off' : 'on';
      rest = rest.slice(given.length + 1);
    } else return undefined;
    if (value === undefined) {
      const [written] = /^(?:[^,]|,,)*/s.exec(rest)!;
      value = written.replaceAll(',,', ',');
      rest = rest.slice(written.length + 1);
    }
    if (!put(root, key.split('.'), value)) return undefined;
  }
  const result = toJson(root);
  return result === undefined ? undefined : JSON.stringify(result);
}

function put(root: Map<string, Meaning>, parts: readonly string[], value: string): boolean {
  if (parts.length > MOST_PARTS) return false;
  let map = root;
  for (const [depth, part] of parts.entries()) {
    if (!NAME.test(part) && (depth === 0 || !NUMBER.test(part))) return false;
    const there = map.get(part);
    if (depth === parts.length - 1) {
      if (there instanceof Map) return false;
      map.set(part, value);
    } else {
      if (typeof there === 'string') return false;
      const inner = there ?? new Map<string, Meaning>();
      map.set(part, inner);
      map = inner;
    }
  }
  return true;
}

function toJson(meaning: Meaning): unknown {
  if (typeof meaning === 'string') return meaning;
  const keys = [...meaning.keys()];
  const inner = new Map<string, unknown>();
  for (const key of keys) {
    const value = toJson(meaning.get(key)!);
    if (value === undefined) return undefined;
    inner.set(key, value);
  }
  const numbers = keys.filter((key) => NUMBER.test(key));
  if (numbers.length === 0) return Object.fromEntries(inner);
  if (numbers.length < keys.length) return undefined;
  const list = keys.map((_, i) => inner.get(String(i)));
  return list.includes(undefined) ? undefined : list;
}
