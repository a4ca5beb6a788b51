import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type KeyvalValue, parseKeyval } from '../dist/options/keyval.js';
import { StorageDaemonError } from '../dist/storage-daemon-error.js';
import { propertyOptions } from './support/property-options.js';

describe('what key=value options mean', () => {
  test.each([
    ['', {}],
    ['a=1', { a: '1' }],
    ['a=1,', { a: '1' }],
    ['a=', { a: '' }],
    ['a=1,b=2', { a: '1', b: '2' }],
    ['a=1,a=2', { a: '2' }],
    ['a=x,,y', { a: 'x,y' }],
    ['a=,,,b=,,', { a: ',', b: ',' }],
    ['a=b=c', { a: 'b=c' }],
    ['addr.type=unix,addr.path=/x', { addr: { type: 'unix', path: '/x' } }],
    ['iothread.0=a,iothread.1=b', { iothread: ['a', 'b'] }],
    ['a.1.x=2,a.0.x=1', { a: [{ x: '1' }, { x: '2' }] }],
    ['a.0.0=x', { a: [['x']] }],
  ])('%s', (text, meaning) => {
    expect(parseKeyval(text)).toEqual(meaning);
  });

  test('the first value may stand without its key', () => {
    const syntax = { impliedKey: 'driver' };
    expect(parseKeyval('file,filename=x', syntax)).toEqual({ driver: 'file', filename: 'x' });
    expect(parseKeyval('a,,b', syntax)).toEqual({ driver: 'a,b' });
    expect(parseKeyval('driver=file', syntax)).toEqual({ driver: 'file' });
    expect(parseKeyval('file,driver=raw', syntax)).toEqual({ driver: 'raw' });
  });

  test('switches may stand without their values', () => {
    const syntax = { impliedKey: 'backend', switches: true };
    expect(parseKeyval('socket,server,nowait,id=a', syntax)).toEqual({
      backend: 'socket',
      server: 'on',
      wait: 'off',
      id: 'a',
    });
  });

  test.each([
    ['a', "Expected '=' after parameter 'a'"],
    ['a=1,b', "Expected '=' after parameter 'b'"],
    ['=x', "Invalid parameter ''"],
    [',a=b', "Invalid parameter ''"],
    ['a..b=1', "Invalid parameter 'a..b'"],
    ['0=x', "Invalid parameter '0'"],
    ['a.00=x', "Invalid parameter 'a.00'"],
    ['__proto__=x', "Invalid parameter '__proto__'"],
    ['a.__proto__.b=x', "Invalid parameter 'a.__proto__.b'"],
    ['a=1,a.b=2', "Parameters 'a.*' used inconsistently"],
    ['a.b=2,a=1', "Parameters 'a.*' used inconsistently"],
    ['a.0=2,a.b=1', "Parameters 'a.*' used inconsistently"],
    ['a.0=1,a.2=2', "Parameter 'a.1' missing"],
    ['a.9999=1', "Parameter 'a.0' missing"],
    [`${'a.'.repeat(40)}a=1`, 'has more than 32 parts'],
  ])('%s is a mistake', (text, message) => {
    expect(() => parseKeyval(text)).toThrow(message);
  });

  test('whatever is written back is read the same', () => {
    const name = fc.stringMatching(/^[A-Za-z][\w-]{0,8}$/);
    const { value } = fc.letrec<{ value: KeyvalValue; object: KeyvalValue; list: KeyvalValue }>((tie) => ({
      value: fc.oneof({ maxDepth: 4 }, fc.string(), tie('object'), tie('list')),
      object: fc.dictionary(name, tie('value'), { minKeys: 1, maxKeys: 4, noNullPrototype: true }),
      list: fc.array(tie('value'), { minLength: 1, maxLength: 4 }),
    }));
    fc.assert(
      fc.property(fc.dictionary(name, value, { maxKeys: 5, noNullPrototype: true }), (object) => {
        expect(parseKeyval(write(object).join(','))).toEqual(object);
      }),
      propertyOptions(),
    );
  });

  test('any text is read, or refused by name', () => {
    const text = fc.string({
      unit: fc.constantFrom('a', 'b', '0', '1', '.', ',', '=', '-', '_', ' ', 'é', '\0'),
    });
    fc.assert(
      fc.property(text, fc.boolean(), (input, switches) => {
        try {
          parseKeyval(input, { impliedKey: 'driver', switches });
        } catch (error) {
          expect(error).toBeInstanceOf(StorageDaemonError);
        }
      }),
      propertyOptions(),
    );
  });
});

/** The other way round. */
function write(value: KeyvalValue, path: string = ''): string[] {
  if (typeof value === 'string') return [`${path}=${value.replaceAll(',', ',,')}`];
  return Object.entries(value).flatMap(([key, inner]) => write(inner, path === '' ? key : `${path}.${key}`));
}
