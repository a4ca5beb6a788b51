import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { spawnChild } from './child.js';
import { GUEST_WORDS } from './guest-init.js';
import { type GuestKit, program, writeArchive } from './guest-kit.js';
import { type GuestMachine, qemuArguments } from './qemu-arguments.js';

/** Against hangs only: a boot and its work take seconds. */
const DEADLINE_MS = 90_000;
/** How much of the guest's console an error shows. */
const SHOWN_LINES = 40;

interface PowerSwitch {
  /** Ends the guest at once, as a power cut would. */
  cut(): void;
}

export interface GuestOptions extends GuestMachine {
  /** What the guest does, as a shell script; the first command that fails ends it. */
  readonly script: string;
  /** What the host does when the script asks for it, by name; the script gets the answer as `$answer`. */
  readonly answers?: Readonly<Record<string, (guest: PowerSwitch) => Promise<string | void>>>;
  /** Default 90,000. */
  readonly deadlineMs?: number;
}

/** What a guest has told; asking for anything else is an error. */
export class GuestResults {
  readonly #told: ReadonlyMap<string, string>;

  constructor(told: ReadonlyMap<string, string>) {
    this.#told = told;
  }

  /** @throws Error naming what the guest never told */
  get(name: string): string {
    const value = this.#told.get(name);
    if (value === undefined) throw new Error(`the guest told no ${name}`);
    return value;
  }

  /** @throws Error naming what the guest never told, or what is no number */
  number(name: string): number {
    const value = Number(this.get(name));
    if (!Number.isSafeInteger(value)) throw new Error(`the guest told no number: ${name} ${this.get(name)}`);
    return value;
  }
}

/** The script as an archive that the kernel unpacks behind the initramfs. */
function archiveScript(directory: string, script: string): Buffer {
  const content = join(directory, 'content');
  mkdirSync(content);
  writeFileSync(join(content, 'script'), `${GUEST_WORDS}\n${script}`);
  const archive = join(directory, 'script.cpio');
  writeArchive(content, archive);
  return readFileSync(archive);
}

/** What a guest showed last. */
class Console {
  #text = '';

  add(text: string): void {
    // Bounded: a guest that floods its console says nothing new.
    this.#text = (this.#text + text).slice(-64 * 1024);
  }

  describe(what: string, cause?: unknown): Error {
    const lines = this.#text.trimEnd().split(/\r?\n/);
    return new Error(`${what}; it showed last:\n${lines.slice(-SHOWN_LINES).join('\n')}`, { cause });
  }
}

/** Listens to what the guest tells, and answers what it asks, until it hangs up. */
async function converse(
  socket: Socket,
  told: Map<string, string>,
  answers: NonNullable<GuestOptions['answers']>,
  guest: PowerSwitch,
): Promise<void> {
  for await (const line of createInterface({ input: socket })) {
    const [word, name = '', ...rest] = line.split(' ');
    if (word === 'RESULT') told.set(name, rest.join(' '));
    if (word !== 'ASK') continue;
    const answer = answers[name];
    if (answer === undefined) throw new Error(`the guest asks for ${name}: nobody answers that`);
    const said = await answer(guest);
    // A guest whose power is off hears nothing any more.
    if (!socket.destroyed) socket.write(`${said ?? 'ok'}\n`);
  }
}

/** Boots a guest, runs its script, and resolves when it has powered off. @throws Error with the console's last lines */
export async function bootGuest(kit: GuestKit, options: GuestOptions): Promise<GuestResults> {
  const directory = mkdtempSync(join(tmpdir(), 'iothreads-guest-'));
  const talk = join(directory, 'talk');
  const told = new Map<string, string>();
  const console = new Console();
  const server = createServer();
  let timer: NodeJS.Timeout | undefined;
  try {
    const initrd = join(directory, 'initrd');
    const script = archiveScript(directory, options.script);
    writeFileSync(initrd, Buffer.concat([readFileSync(kit.initramfs), script]));
    server.listen(talk);
    await once(server, 'listening');

    const qemu = spawnChild(program('qemu-system-x86_64'), qemuArguments(options, kit, initrd, talk));
    for (const output of [qemu.stdout!, qemu.stderr!]) {
      output.setEncoding('utf8').on('data', (text: string) => console.add(text));
    }
    let ended: (() => GuestResults) | undefined;
    const end = (how: () => GuestResults): void => {
      ended ??= how;
      qemu.kill('SIGKILL');
    };
    const fail = (what: string, cause?: unknown): void =>
      end(() => {
        throw console.describe(what, cause);
      });
    timer = setTimeout(fail, options.deadlineMs ?? DEADLINE_MS, 'the guest never came to its end');
    const answers = { poweroff: () => Promise.resolve(), ...options.answers };
    const power = { cut: () => end(() => new GuestResults(told)) };
    server.on('connection', (socket) => {
      converse(socket, told, answers, power).catch((error: unknown) => fail(String(error), error));
    });

    const [status] = (await once(qemu, 'close')) as [number | null];
    if (ended !== undefined) return ended();
    if (status !== 0) throw console.describe(`QEMU left with status ${status}`);
    const exit = told.get('exit');
    if (exit !== '0') throw console.describe(`the guest's script left with status ${exit ?? 'unknown'}`);
    return new GuestResults(told);
  } finally {
    clearTimeout(timer);
    server.close();
    rmSync(directory, { recursive: true, force: true });
  }
}
