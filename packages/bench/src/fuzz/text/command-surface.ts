import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough } from 'node:stream';
import { ScratchDirectory } from '../../load/scratch-directory.js';
import type { Random } from '../../stress/random.js';
import type { FuzzSurface } from '../surface.js';
import { within } from '../within.js';
import { type CommandCase, DIRECTORY, makeCommandCase, NAMES } from './command-case.js';
import { startDaemon } from './storage-daemon-parts.js';

interface Reply {
  readonly return?: unknown;
  readonly error?: { readonly class: string; readonly desc: string };
  readonly id?: unknown;
}

const CLASSES = ['GenericError', 'CommandNotFound', 'DeviceNotFound'];

/** QMP commands, right and wrong, to a daemon in this process: each has one answer, in turn, and all that was made can be ended. */
export class CommandSurface implements FuzzSurface<CommandCase> {
  readonly make: (random: Random) => CommandCase = makeCommandCase;
  readonly #directory: ScratchDirectory;

  private constructor(directory: ScratchDirectory) {
    this.#directory = directory;
  }

  static async create(): Promise<CommandSurface> {
    return new CommandSurface(await ScratchDirectory.create(tmpdir(), 'iothreads-fuzz-'));
  }

  async play({ commands }: CommandCase): Promise<number> {
    await writeFile(join(this.#directory.path, 'disk.img'), new Uint8Array(8192));
    const daemon = await startDaemon();
    const input = new PassThrough();
    const output = new PassThrough().setEncoding('utf8');
    let text = '';
    output.on('data', (chunk: string) => (text += chunk));
    const all = [{ execute: 'qmp_capabilities' }, ...commands, { execute: 'query-version', id: 'last' }];
    for (const command of all) {
      input.write(`${JSON.stringify(command).replaceAll(DIRECTORY, this.#directory.path)}\n`);
    }
    input.end();
    await within(daemon.talk({ input, output }), 'the end of the conversation');
    // Some of what is made may not be possible to end well: then the log says so.
    await within(daemon.close(), 'the end of the daemon');
    const lines = text.trimEnd().split('\r\n');
    const replies = lines.slice(2).map((line) => JSON.parse(line) as Reply);
    check(commands, replies);
    return commands.length;
  }

  async close(): Promise<void> {
    await this.#directory[Symbol.asyncDispose]();
  }
}

function check(commands: CommandCase['commands'], replies: readonly Reply[]): void {
  if (replies.length !== commands.length + 1) {
    throw new Error(`${commands.length} commands have had ${replies.length - 1} answers`);
  }
  for (const [i, { return: result, error, id }] of replies.entries()) {
    const command = i < commands.length ? commands[i] : { id: 'last' };
    const given = typeof command === 'object' && command !== null && 'id' in command ? command.id : undefined;
    const where = `answer ${i} to ${JSON.stringify(command)}`;
    if (JSON.stringify(id) !== JSON.stringify(given))
      throw new Error(`${where} has the id ${JSON.stringify(id)}`);
    if ((result === undefined) === (error === undefined)) throw new Error(`${where} is neither, or both`);
    if (error === undefined) {
      if (!isKnown(command)) throw new Error(`${where} is that it was done`);
      continue;
    }
    if (!CLASSES.includes(error.class) || error.desc === '' || /\p{Cc}/u.test(error.desc)) {
      throw new Error(`${where} is ${JSON.stringify(error)}`);
    }
  }
  if (replies.at(-1)!.error !== undefined) throw new Error('a good command fails');
}

/** Whether it is a command at all; the last one is. */
const isKnown = (command: unknown): boolean =>
  typeof command === 'object' && command !== null && (!('execute' in command) || NAMES.has(command.execute));
