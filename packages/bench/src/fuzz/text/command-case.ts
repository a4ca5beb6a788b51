import type { Random } from '../../stress/random.js';
import type { Json } from '../surface.js';

/** What stands for the directory of a run in a case: cases are the same whatever it is called. */
export const DIRECTORY = '@DIR@';

/** QMP commands, one after the other. JSON. */
export interface CommandCase {
  readonly commands: readonly Json[];
}

type Fields = Readonly<Record<string, Json>>;

const COMMANDS = 16;

/** Files and sockets stay where they are, whatever else is changed. */
const PATHS = [`${DIRECTORY}/a`, `${DIRECTORY}/b`, `${DIRECTORY}/disk.img`, `${DIRECTORY}/none/x`, ''];
const IDS = [
  'a',
  'b',
  'io0',
  'node0',
  'node1',
  'none',
  '',
  '0',
  'é',
  'a b',
  '#block000',
  'x'.repeat(40),
  '__proto__',
  '/',
];
const ODD_TEXTS = ['', 'on', '1', 'null', '\u0000', 'toString', 'x'.repeat(5000)];
const ODD_NUMBERS = [0, -1, 1, 1.5, 512, 513, 65536, 2 ** 31, 2 ** 32, 2 ** 53, 1e300];
const ODD: readonly Json[] = [
  ...ODD_TEXTS,
  ...ODD_NUMBERS,
  true,
  false,
  null,
  [],
  {},
  [null],
  [[]],
  { a: 1 },
];

const disk = (random: Random): Json =>
  random.pick<Json>([
    { driver: 'null-co', 'node-name': 'node0', size: 65536 },
    { driver: 'memory', 'node-name': 'node1', size: 65536 },
    { driver: 'file', 'node-name': 'node0', filename: PATHS[2]!, cache: { direct: false } },
    { driver: 'raw', 'node-name': 'node1', offset: 512, size: 1024, file: 'node0' },
    { driver: 'blkdebug', 'node-name': 'faulty', image: random.pick(['node0', 'node1']) },
    { driver: 'raw', 'node-name': 'w', file: { driver: 'raw', file: { driver: 'null-co', size: 4096 } } },
  ]);

/** Good commands, with their arguments. */
const GOOD: readonly (readonly [string, (random: Random) => Json])[] = [
  ['blockdev-add', disk],
  ['blockdev-add', disk],
  ['blockdev-add', disk],
  ['blockdev-del', (random) => ({ 'node-name': random.pick(IDS) })],
  ['block_resize', (random) => ({ 'node-name': random.pick(IDS), size: 512 * random.below(300) })],
  ['query-named-block-nodes', () => ({})],
  ['chardev-add', chardev],
  ['chardev-remove', (random) => ({ id: random.pick(IDS) })],
  ['query-chardev', () => ({})],
  ['block-export-add', blockExport],
  ['block-export-del', (random) => ({ id: random.pick(IDS), mode: random.pick(['safe', 'hard']) })],
  ['query-block-exports', () => ({})],
  ['object-del', (random) => ({ id: random.pick(IDS) })],
  ['query-iothreads', () => ({})],
  ['qom-list', (random) => ({ path: random.pick(['/', '/objects', '/chardevs', '/objects/io0', '//', '']) })],
  [
    'qom-get',
    (random) => ({ path: '/objects/io0', property: random.pick(['type', 'poll-grow', '__proto__']) }),
  ],
  [
    'x-blockdev-set-iothread',
    (random) => ({ 'node-name': random.pick(IDS), iothread: random.pick(['io0', null]) }),
  ],
  ['query-blockstats', () => ({ 'query-nodes': true })],
  ['block-latency-histogram-set', (random) => ({ id: random.pick(IDS), boundaries: [10, 50, 100] })],
  ['x-blkdebug-query', (random) => ({ 'node-name': random.pick(IDS) })],
  ['x-blkdebug-set-rules', faults],
  ['x-query-supervision', () => ({})],
  ['query-version', () => ({})],
  ['query-commands', () => ({})],
];
/** Takes a thread: rarely. */
const OBJECT_ADD = ['object-add', { 'qom-type': 'iothread', id: 'io0', 'poll-max-ns': 5000 }] as const;

const NO_NAMES = ['toString', 'hasOwnProperty', '__proto__', 'constructor', 'nbd-server-start', '', 'Quit'];
const NO_COMMANDS: readonly Json[] = [null, 5, 'quit', true, [], [1], {}];

/** All that can be done. */
export const NAMES: ReadonlySet<unknown> = new Set([
  ...GOOD.map(([name]) => name),
  OBJECT_ADD[0],
  'qmp_capabilities',
  'quit',
]);

function faults(random: Random): Json {
  const rule = { iotype: 'write', errno: 5, sector: random.below(20), once: true };
  return { 'node-name': random.pick(['faulty', 'node0']), 'inject-error': [rule] };
}

function chardev(random: Random): Json {
  const addr = { type: 'unix', data: { path: random.pick(PATHS) } };
  return { id: random.pick(IDS), backend: { type: 'socket', data: { addr, server: true, wait: false } } };
}

function blockExport(random: Random): Json {
  const addr = random.chance(0.9) ? { type: 'unix', path: random.pick(PATHS) } : { type: 'fd', str: '99' };
  const id = random.pick(IDS);
  return {
    type: 'vhost-user-blk',
    id,
    'node-name': random.pick(['node0', 'node1', 'none']),
    addr,
    writable: true,
  };
}

export function makeCommandCase(random: Random): CommandCase {
  return { commands: Array.from({ length: COMMANDS }, (_, id) => makeCommand(random, id)) };
}

function makeCommand(random: Random, id: number): Json {
  const [name, make] = random.pick(GOOD);
  if (random.chance(0.03)) return random.pick(NO_COMMANDS);
  let command: Json = { execute: name, arguments: make(random), id };
  if (random.chance(0.02)) command = { execute: OBJECT_ADD[0], arguments: OBJECT_ADD[1], id };
  if (!random.chance(0.5)) return command;
  if (random.chance(0.1)) return { ...(command as Fields), execute: random.pick(NO_NAMES) };
  if (random.chance(0.1)) return mutate(random, command);
  return { ...(command as Fields), arguments: mutate(random, (command as Fields)['arguments']!) };
}

/** Makes one mistake somewhere in a value; where files are is none of them. */
function mutate(random: Random, value: Json): Json {
  if (typeof value !== 'object' || value === null) return random.pick(ODD);
  if (Array.isArray(value))
    return random.chance(0.5) ? random.pick(ODD) : [...(value as Json[]), random.pick(ODD)];
  const fields = value as Fields;
  const keys = Object.keys(fields);
  if (keys.length === 0 || random.chance(0.1)) return { ...fields, [random.pick(IDS)]: random.pick(ODD) };
  const key = random.pick(keys);
  const { [key]: inner, ...rest } = fields;
  if (random.chance(0.2)) return rest;
  if (key === 'path' || key === 'filename' || key === 'driver') {
    return {
      ...rest,
      [key]: random.pick<Json>(key === 'driver' ? ['file', 'raw', 'nbd', 5] : [...PATHS, 7, null]),
    };
  }
  return { ...rest, [key]: random.chance(0.5) ? mutate(random, inner!) : random.pick(ODD) };
}
