import { StorageDaemonError } from '../storage-daemon-error.js';

/** What `key=value,…` means: objects by dotted keys, arrays by numeric parts, all scalars still text. */
export type KeyvalValue = string | KeyvalValue[] | KeyvalObject;
export interface KeyvalObject {
  [key: string]: KeyvalValue;
}

export interface KeyvalSyntax {
  /** What the first value is called when it stands without a key. */
  readonly impliedKey?: string;
  /** A key without a value is a switch: `server` is `server=on`, `nowait` is `wait=off`. */
  readonly switches?: boolean;
}

export const MAX_KEY_PARTS = 32;
const NAME = /^[A-Za-z][\w-]{0,126}$/;
const INDEX = /^(?:0|[1-9]\d{0,3})$/;

/**
 * Reads QEMU's `key=value` options: `,,` is a comma, the last of several values for a key wins.
 * @throws StorageDaemonError `ERR_PARAMETER`
 */
export function parseKeyval(text: string, syntax: KeyvalSyntax = {}): KeyvalObject {
  const root: KeyvalObject = Object.create(null) as KeyvalObject;
  let at = 0;
  while (at < text.length) {
    const begin = at;
    let keyEnd = begin;
    while (keyEnd < text.length && text[keyEnd] !== '=' && text[keyEnd] !== ',') keyEnd++;
    let key = text.slice(begin, keyEnd);
    if (text[keyEnd] === '=') at = keyEnd + 1;
    else if (begin === 0 && key !== '' && syntax.impliedKey !== undefined) key = syntax.impliedKey;
    else if (syntax.switches === true && NAME.test(key)) {
      at = keyEnd + 1;
      const off = /^no(?=.)/.test(key);
      assign(root, off ? key.slice(2) : key, off ? 'off' : 'on');
      continue;
    } else {
      throw mistake(NAME.test(key) ? `Expected '=' after parameter '${key}'` : `Invalid parameter '${key}'`);
    }
    let value = '';
    for (;;) {
      const comma = text.indexOf(',', at);
      if (comma === -1) {
        value += text.slice(at);
        at = text.length;
        break;
      }
      value += text.slice(at, comma);
      at = comma + 1;
      if (text[at] !== ',') break;
      value += ',';
      at++;
    }
    assign(root, key, value);
  }
  return listify(root, '') as KeyvalObject;
}

function assign(root: KeyvalObject, key: string, value: string): void {
  const parts = key.split('.');
  if (parts.length > MAX_KEY_PARTS) throw mistake(`Parameter '${key}' has more than ${MAX_KEY_PARTS} parts`);
  let object = root;
  for (const [depth, part] of parts.entries()) {
    if (!NAME.test(part) && !(depth > 0 && INDEX.test(part))) throw mistake(`Invalid parameter '${key}'`);
    const last = depth === parts.length - 1;
    const there = object[part];
    if (there !== undefined && (typeof there === 'string') !== last) {
      throw mistake(`Parameters '${parts.slice(0, depth + 1).join('.')}.*' used inconsistently`);
    }
    if (last) object[part] = value;
    else object = (there ?? (object[part] = Object.create(null) as KeyvalObject)) as KeyvalObject;
  }
}

/** Objects whose keys are numbers become arrays; no deeper than keys have parts. */
function listify(object: KeyvalObject, path: string): KeyvalValue {
  const keys = Object.keys(object);
  for (const key of keys) {
    const value = object[key]!;
    if (typeof value !== 'string') object[key] = listify(value as KeyvalObject, `${path}${key}.`);
  }
  const indexes = keys.filter((key) => INDEX.test(key)).length;
  if (indexes === 0) return object;
  if (indexes < keys.length) throw mistake(`Parameters '${path}*' used inconsistently`);
  return keys.map((_, index) => {
    const value = object[String(index)];
    if (value === undefined) throw mistake(`Parameter '${path}${index}' missing`);
    return value;
  });
}

function mistake(message: string): StorageDaemonError {
  return new StorageDaemonError('ERR_PARAMETER', message);
}
