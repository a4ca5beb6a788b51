import { oneLine } from '../describe-error.js';
import { StorageDaemonError } from '../storage-daemon-error.js';

/** Deeper than anything the daemon takes. */
export const MAX_JSON_DEPTH = 64;

/**
 * Reads strict JSON, where a key that stands twice is a mistake as well.
 * @throws StorageDaemonError `ERR_JSON`
 */
export function parseJson(text: string): unknown {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw mistake(`JSON parse error, ${oneLine((error as SyntaxError).message)}`);
  }
  checkObjects(text);
  return value;
}

/** Looks for what JSON.parse lets pass. The text is valid JSON, so a string before a colon is a key. */
function checkObjects(text: string): void {
  /** What is open at this place, outermost first: the keys of an object so far, undefined for an array. */
  const open: (Set<string> | undefined)[] = [];
  for (let at = 0; at < text.length; at++) {
    switch (text[at]) {
      case '{':
      case '[':
        open.push(text[at] === '{' ? new Set() : undefined);
        if (open.length > MAX_JSON_DEPTH) throw nestedTooDeep();
        break;
      case '}':
      case ']':
        open.pop();
        break;
      case '"': {
        const begin = at;
        for (at++; text[at] !== '"'; at++) if (text[at] === '\\') at++;
        let next = at + 1;
        while (next < text.length && /\s/.test(text[next]!)) next++;
        if (text[next] !== ':') break;
        const key = JSON.parse(text.slice(begin, at + 1)) as string;
        const keys = open.at(-1)!;
        if (keys.has(key)) throw mistake(`JSON parse error, duplicate key '${oneLine(key)}'`);
        keys.add(key);
        break;
      }
    }
  }
}

export const nestedTooDeep = (): StorageDaemonError =>
  mistake(`JSON nesting depth limit exceeded: at most ${MAX_JSON_DEPTH} levels`);

function mistake(message: string): StorageDaemonError {
  return new StorageDaemonError('ERR_JSON', message);
}
