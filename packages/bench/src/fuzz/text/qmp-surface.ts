import type { Random } from '../../stress/random.js';
import type { FuzzSurface } from '../surface.js';
import { mutateText } from './mutate-text.js';
import { expectMistake, JsonStream, parseJson } from './storage-daemon-parts.js';

/** What a client of a monitor sends. JSON. */
export interface QmpCase {
  readonly messages: readonly string[];
  /** Where the stream is cut in pieces: characters of each. */
  readonly pieces: readonly number[];
}

const MOST_DEPTH = 64;
const MESSAGES = 12;
/** Up to this, a text is read character by character as well. */
const SHORT = 400;

const WORDS = [
  'execute',
  'arguments',
  'id',
  'a',
  'b',
  '',
  '__proto__',
  'a"b',
  'é',
  '\n',
  '{',
  '}]',
  '\\',
  '\u0000',
];
const ALPHABET = [
  '{',
  '}',
  '[',
  ']',
  '"',
  ':',
  ',',
  '\\',
  '\n',
  ' ',
  '1',
  '-',
  'e',
  'null',
  '\\u00',
  '\u{1F600}',
  '\0',
  'x',
];
/** A stream that can't be told into messages any more goes on behind a line break, at the latest behind this. */
const RESCUE = '"\n';
const LAST = '{"last":true}\n';

/** A monitor's stream of JSON: the same wherever it is cut; values as a reference reads them, or mistakes that are told. */
export class QmpSurface implements FuzzSurface<QmpCase> {
  static async create(): Promise<QmpSurface> {
    return new QmpSurface();
  }

  make(random: Random): QmpCase {
    const messages = Array.from({ length: 1 + random.below(MESSAGES) }, () => makeMessage(random));
    const pieces = Array.from({ length: random.below(8) }, () => random.below(40));
    return { messages, pieces };
  }

  play({ messages, pieces }: QmpCase): number {
    let well = true;
    for (const message of messages) {
      const read = readAlone(message);
      // A bare word ends with its line, and so may anything that is none.
      if (read === undefined || !/^\s*[{[]/.test(message)) well = false;
    }
    const text = messages.map((message) => `${message}\n`).join('');
    const whole = readStream([text]);
    if (well && whole.length !== messages.length) {
      throw new Error(`${messages.length} messages have become ${whole.length}`);
    }
    const cut: string[] = [];
    let at = 0;
    for (const length of pieces) cut.push(text.slice(at, (at += length)));
    cut.push(text.slice(at));
    expectSame(readStream(cut), whole);
    if (pieces.length === 0 && text.length < SHORT) expectSame(readStream(text.split('')), whole);
    if (pieces.length % 3 > 0) return messages.length;
    // Where brackets are open, a line break ends nothing: only their ends do, or too many of them.
    const closed = readStream([text, RESCUE, '['.repeat(MOST_DEPTH + 1), '\n', LAST]);
    if (closed.at(-1) !== '{"last":true}') throw new Error(`the stream does not go on: ${closed.at(-1)}`);
    return messages.length;
  }
}

function makeMessage(random: Random): string {
  if (random.chance(0.001)) return makeHuge(random);
  const text = JSON.stringify(makeValue(random, random.below(5)));
  const spaced = random.chance(0.2) ? text.replaceAll(',', ' ,\t') : text;
  const object = `{"execute":${spaced}}`;
  if (random.chance(0.05)) return `{"a":1,${object.slice(1, -1)},"\\u0061":${random.below(3)}}`;
  return random.chance(0.35) ? mutateText(random, object, ALPHABET) : object;
}

function makeValue(random: Random, depth: number): unknown {
  switch (depth === 0 ? random.below(4) : 4 + random.below(2)) {
    case 0:
      return random.pick(WORDS);
    case 1:
      return random.pick([0, -1, 1.5, 1e300, 2 ** 53, 1e-7]);
    case 2:
      return random.chance(0.5);
    case 3:
      return null;
    case 4:
      return Array.from({ length: random.below(4) }, () => makeValue(random, depth - 1));
    default:
      return Object.fromEntries(
        Array.from({ length: random.below(4) }, () => [random.pick(WORDS), makeValue(random, depth - 1)]),
      );
  }
}

function makeHuge(random: Random): string {
  const open = random.pick(['[', '{"a":', '[{"b":']);
  const depth = random.pick([62, 63, 64, 65, 66, 5000]);
  switch (random.below(4)) {
    case 0:
      return open.repeat(depth);
    case 1:
      return `${'['.repeat(depth)}1${']'.repeat(depth)}`;
    case 2:
      return `{"a":"${'x'.repeat(random.chance(0.1) ? 1_100_000 : 5000)}"}`;
    default:
      return ' '.repeat(20_000);
  }
}

/** @returns the value as JSON, undefined where it is refused */
function readAlone(text: string): string | undefined {
  const expected = reference(text);
  let actual: string | undefined;
  try {
    actual = JSON.stringify(parseJson(text));
  } catch (error) {
    expectMistake(error);
  }
  if (actual !== expected) throw new Error(`${text.slice(0, 200)} is read as ${actual}, not ${expected}`);
  return actual;
}

/** Duplicates are found by counting: a key that stands twice is in the text twice, in the value once. */
function reference(text: string): string | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  const keys = text.match(/"(?:[^"\\]|\\.)*"(?=\s*:)|"(?:[^"\\]|\\.)*"/gs)?.length ?? 0;
  const strings = countStrings(value);
  if (keys !== strings) return undefined;
  let depth = 0;
  for (const bracket of text.replaceAll(/"(?:[^"\\]|\\.)*"/gs, '').replaceAll(/[^[\]{}]/g, '')) {
    depth += bracket === '[' || bracket === '{' ? 1 : -1;
    if (depth > MOST_DEPTH) return undefined;
  }
  return JSON.stringify(value);
}

/** Keys and texts in a value. Not by recursion: a text may be nested deeper than a stack. */
function countStrings(root: unknown): number {
  let count = 0;
  const left = [root];
  for (let value = left.pop(); value !== undefined; value = left.pop()) {
    if (typeof value === 'string') count++;
    if (typeof value !== 'object' || value === null) continue;
    if (!Array.isArray(value)) count += Object.keys(value).length;
    for (const inner of Object.values(value)) left.push(inner);
  }
  return count;
}

function readStream(chunks: readonly string[]): string[] {
  const stream = new JsonStream();
  const results: string[] = [];
  for (const chunk of chunks) {
    for (const each of stream.push(chunk)) {
      if ('error' in each) expectMistake(each.error);
      results.push('error' in each ? `error: ${each.error.message}` : JSON.stringify(each.value));
    }
  }
  return results;
}

function expectSame(actual: readonly string[], expected: readonly string[]): void {
  if (actual.length === expected.length && actual.every((each, i) => each === expected[i])) return;
  throw new Error(`cut in pieces it is ${actual.join(' | ')}, in one it was ${expected.join(' | ')}`);
}
