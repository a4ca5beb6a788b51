import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { MAX_JSON_DEPTH, parseJson } from '../dist/options/json-text.js';
import { JsonStream, MAX_MESSAGE_LENGTH } from '../dist/qmp/json-stream.js';
import { propertyOptions } from './support/property-options.js';

/** What comes out of chunks: values, and messages of errors as text that begins with 'error: '. */
function read(chunks: readonly string[]): unknown[] {
  const stream = new JsonStream();
  return chunks.flatMap((chunk) =>
    [...stream.push(chunk)].map((each) => ('error' in each ? `error: ${each.error.message}` : each.value)),
  );
}

describe('strict JSON', () => {
  test('is read', () => {
    expect(parseJson('{"a": [1, {"a": 2}, {"a": 3}], "b": "}{\\"a\\":"}')).toEqual({
      a: [1, { a: 2 }, { a: 3 }],
      b: '}{"a":',
    });
  });

  test.each([
    ['{"a":1,"a":2}', "duplicate key 'a'"],
    ['{"a":{"b":1,"c":2,"b":3}}', "duplicate key 'b'"],
    ['{"a":1,"\\u0061":2}', "duplicate key 'a'"],
    ['{"a":1,}', 'JSON parse error'],
    ["{'a':1}", 'JSON parse error'],
    ['{"a":1} x', 'JSON parse error'],
    ['{"a":', 'JSON parse error'],
    ['[{"a":\n1}\n', 'JSON parse error'],
  ])('%s is refused', (text, message) => {
    expect(() => parseJson(text)).toThrow(message);
    try {
      parseJson(text);
    } catch (error) {
      expect((error as Error).message).not.toContain('\n');
    }
  });

  test('is not nested without bounds', () => {
    const nested = (depth: number): string => '['.repeat(depth) + ']'.repeat(depth);
    expect(() => parseJson(nested(MAX_JSON_DEPTH))).not.toThrow();
    expect(() => parseJson(nested(MAX_JSON_DEPTH + 1))).toThrow('nesting depth');
  });

  test('has duplicate keys found in any valid text', () => {
    fc.assert(
      fc.property(fc.json(), (text) => {
        expect(parseJson(text)).toEqual(JSON.parse(text));
      }),
      propertyOptions(),
    );
  });
});

describe('a stream of JSON', () => {
  test('comes in pieces, or several at once', () => {
    expect(read(['{"a"', ': 1}', '{"b":2}{"c":3}\n[4]', ' \r\n  ', '{"d":"}"}'])).toEqual([
      { a: 1 },
      { b: 2 },
      { c: 3 },
      [4],
      { d: '}' },
    ]);
  });

  test('means the same wherever it is cut', () => {
    const message = fc.oneof(
      fc
        .dictionary(fc.string(), fc.jsonValue({ maxDepth: 4 }), { noNullPrototype: true })
        .map((value) => JSON.stringify(value)),
      fc.constantFrom('nonsense\n', '{"a":1,"a":2}', '{"a" "b"}', '"{"\n', '{"x": "line\n', '}'),
    );
    fc.assert(
      fc.property(fc.array(message), fc.array(fc.nat({ max: 400 })), (messages, cuts) => {
        const text = messages.join('\n');
        const places = [0, ...cuts.filter((cut) => cut <= text.length).sort((a, b) => a - b), text.length];
        const chunks = places.slice(1).map((place, index) => text.slice(places[index], place));
        expect(read(chunks)).toEqual(read([text]));
        expect(read(text.split(''))).toEqual(read([text]));
      }),
      propertyOptions(),
    );
  });

  test('goes on behind the line that can not be read', () => {
    expect(read(['nonsense\n{"a":1}'])).toEqual([
      expect.stringMatching(/^error: JSON parse error/),
      { a: 1 },
    ]);
    expect(read(['{"a": "b\n{"a":1}'])).toEqual([
      'error: JSON parse error, line break in a string',
      { a: 1 },
    ]);
    expect(read(['{"a" 1}{"a":1}'])).toEqual([expect.stringMatching(/^error: JSON parse error/), { a: 1 }]);
    expect(read(['42\n{"a":1}'])).toEqual([42, { a: 1 }]);
  });

  test('nests no deeper than it may', () => {
    const deep = '{"a":'.repeat(MAX_JSON_DEPTH + 1);
    expect(read([`${deep}\n{"a":1}`])).toEqual([expect.stringContaining('nesting depth'), { a: 1 }]);
    // One error, however much of it there is.
    expect(read(['['.repeat(100_000), '['.repeat(100_000), ']\n{"a":1}'])).toEqual([
      expect.stringContaining('nesting depth'),
      { a: 1 },
    ]);
  });

  test('has no message without an end', () => {
    const chunk = 'x'.repeat(65_536);
    const chunks = Array.from({ length: 2 * (MAX_MESSAGE_LENGTH / chunk.length) }, () => chunk);
    expect(read(['{"a":"', ...chunks, '"}\n', '{"a":1}'])).toEqual([
      expect.stringContaining('size limit'),
      { a: 1 },
    ]);
    expect(read([...chunks, '\n{"a":1}'])).toEqual([expect.stringContaining('size limit'), { a: 1 }]);
  });

  test('takes a message of the size that is allowed, behind any number of blanks', () => {
    const largest = `{"a":"${'x'.repeat(MAX_MESSAGE_LENGTH - 8)}"}`;
    expect(largest).toHaveLength(MAX_MESSAGE_LENGTH);
    expect(read(['\r\n'.repeat(1000), largest])).toEqual([JSON.parse(largest)]);
  });
});
