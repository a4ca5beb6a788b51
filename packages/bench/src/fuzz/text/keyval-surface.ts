import type { Random } from '../../stress/random.js';
import type { FuzzSurface } from '../surface.js';
import { keyvalReference } from './keyval-reference.js';
import { mutateText } from './mutate-text.js';
import {
  expectMistake,
  type OptionName,
  optionReader,
  parseKeyval,
  type ReadOption,
  SYNTAX,
} from './storage-daemon-parts.js';

/** Options as they stand on a command line. JSON. */
export interface KeyvalCase {
  readonly texts: readonly {
    readonly text: string;
    /** As the option of this name; otherwise as `key=value` without any meaning. */
    readonly option?: OptionName;
  }[];
}

const TEXTS = 24;
const KEYS = [
  'a',
  'b',
  'a.b',
  'a.0',
  'a.1',
  'a.2',
  'a.b.c',
  'b.0.x',
  'b.1.x',
  'id',
  'x-y_z',
  'no',
  'nowait',
  'wait',
  'server',
];
const ODD_KEYS = [
  '',
  '.',
  'a.',
  '.a',
  'a..b',
  '0',
  'a.00',
  'a.01',
  'a.9999',
  'a.10000',
  '__proto__',
  'constructor',
  'é',
  'a b',
];
const VALUES = [
  '',
  '1',
  'on',
  'off',
  'x',
  ',,',
  'a,,b',
  '=',
  'a=b',
  ',,,,',
  '\n',
  '0x10',
  '18446744073709551616',
  'é',
];
const ALPHABET = [
  ',',
  ',,',
  '=',
  '.',
  '0',
  '1',
  'a',
  '-',
  '_',
  ' ',
  '\0',
  '\n',
  '"',
  '{',
  'é',
  '\u{1F600}',
  'no',
];

/** Good options, to begin with. */
const OPTIONS: readonly (readonly [OptionName, string])[] = [
  ['blockdev', 'file,node-name=disk,filename=/var/disk.img,cache.direct=on,read-only=off'],
  [
    'blockdev',
    'driver=raw,node-name=w,offset=512,size=1024,file.driver=null-co,file.node-name=n,file.size=65536',
  ],
  ['blockdev', 'null-co,node-name=null0,size=1048576,latency-ns=1000,read-zeroes=on'],
  ['blockdev', '{"driver":"file","node-name":"d","filename":"/x","cache":{"direct":true}}'],
  ['export', 'vhost-user-blk,id=e,node-name=disk,addr.type=unix,addr.path=/run/x,writable=on,num-queues=4'],
  ['export', 'type=vhost-user-blk,id=e,node-name=d,addr.type=fd,addr.str=5,iothread.0=io0,iothread.1=io1'],
  ['object', 'iothread,id=io0,poll-max-ns=32768,poll-grow=2,poll-shrink=0,aio-max-batch=16'],
  ['chardev', 'socket,id=m,path=/run/qmp,server=on,wait=off'],
  ['chardev', 'socket,id=m,path=/run/qmp,server,nowait'],
  ['chardev', 'stdio,id=s'],
  ['monitor', 'chardev=m,mode=control,pretty=on'],
];

/** `key=value` options: read as a reference reads them, or refused with words. */
export class KeyvalSurface implements FuzzSurface<KeyvalCase> {
  readonly #readOption: ReadOption;
  readonly #prototypes = namesOfPrototypes();

  private constructor(readOption: ReadOption) {
    this.#readOption = readOption;
  }

  static async create(): Promise<KeyvalSurface> {
    return new KeyvalSurface(await optionReader());
  }

  make(random: Random): KeyvalCase {
    return {
      texts: Array.from({ length: TEXTS }, () => {
        if (!random.chance(0.08)) return { text: makeText(random) };
        const [option, good] = random.pick(OPTIONS);
        return { option, text: random.chance(0.8) ? mutateText(random, good, ALPHABET) : good };
      }),
    };
  }

  play({ texts }: KeyvalCase): number {
    for (const { text, option } of texts) {
      const syntax = option === undefined ? PLAIN[text.length % PLAIN.length]! : SYNTAX[option];
      this.#compare(text, syntax);
      if (option !== undefined) attempt(() => this.#readOption(option, text));
    }
    if (namesOfPrototypes() !== this.#prototypes) throw new Error('a text has changed a prototype');
    return texts.length;
  }

  #compare(text: string, syntax: (typeof PLAIN)[number]): void {
    const expected = keyvalReference(text, syntax);
    const result = attempt(() => parseKeyval(text, syntax));
    const actual = result === undefined ? undefined : JSON.stringify(result);
    if (actual !== expected) throw new Error(`${JSON.stringify(text)} is read as ${actual}, not ${expected}`);
    if (result !== undefined) checkPrototypes(result);
  }
}

const PLAIN = [{}, { impliedKey: 'driver' }, { switches: true }, { impliedKey: 'driver', switches: true }];

function makeText(random: Random): string {
  const count = 1 + random.below(5);
  const parts = Array.from({ length: count }, () => {
    const key = random.pick(random.chance(0.95) ? KEYS : ODD_KEYS);
    return random.chance(0.9) ? `${key}=${random.pick(VALUES)}` : key;
  });
  if (random.chance(0.01))
    parts.push(`${'a.'.repeat(25 + random.below(10))}b=1`, `${'k'.repeat(120 + random.below(10))}=1`);
  const text = parts.join(',');
  return random.chance(0.3) ? mutateText(random, text, ALPHABET) : text;
}

/** @returns what was read, undefined where it was refused */
function attempt(read: () => unknown): unknown {
  try {
    return read();
  } catch (error) {
    expectMistake(error);
    return undefined;
  }
}

function checkPrototypes(value: unknown): void {
  if (typeof value !== 'object' || value === null) return;
  const prototype: unknown = Object.getPrototypeOf(value);
  if (prototype !== (Array.isArray(value) ? Array.prototype : null))
    throw new Error('an object has inherited something');
  for (const inner of Object.values(value)) checkPrototypes(inner);
}

const namesOfPrototypes = (): string =>
  [Object.prototype, Array.prototype].map((prototype) => Object.getOwnPropertyNames(prototype).join()).join();
