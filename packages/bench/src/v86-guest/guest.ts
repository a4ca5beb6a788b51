import type { V86, V86Options } from 'v86';
import { END_OF_SCRIPT } from './guest-init.js';
import type { GuestKit } from './guest-kit.js';
import { newcArchive } from './newc-archive.js';
import { serialLines } from './serial-lines.js';
import { createMachine } from './v86-machine.js';

/** Against hangs only: a boot takes 10 s, on a busy machine 40. */
const DEADLINE_MS = 180_000;
/** How much of the guest's console an error shows. */
const SHOWN_LINES = 40;
const TALK_PORT = 1;

export interface GuestOptions {
  /** Adds devices to the machine before it starts. */
  readonly attach?: (machine: V86) => void | Promise<void>;
  /** What the host does when a script asks for it, by name; the script gets the answer as `$answer`. */
  readonly answers?: Readonly<Record<string, () => Promise<string | void> | string | void>>;
  /** Options of v86's that replace the guest's. */
  readonly machine?: V86Options;
  /** Programs and other files for the guest, by their paths in directories that it has. */
  readonly files?: Readonly<Record<string, Uint8Array>>;
  /** Called with a result's name at the moment a script tells it. */
  readonly onTold?: (name: string) => void;
  /** Gets what the guest's console shows. */
  readonly onConsole?: (line: string) => void;
  /** Of the boot and of each script. Default 180,000. */
  readonly deadlineMs?: number;
}

/** What a script has told, by name. */
export class GuestResults extends Map<string, string> {
  /** @throws Error naming what the guest never told */
  text(name: string): string {
    const value = this.get(name);
    if (value === undefined) throw new Error(`the guest told no ${name}`);
    return value;
  }

  /** @throws Error naming what the guest never told, or what is no number */
  number(name: string): number {
    const value = Number(this.text(name));
    if (!Number.isFinite(value)) throw new Error(`the guest told no number: ${name} ${this.text(name)}`);
    return value;
  }
}

/** Somebody who waits for the guest. */
interface Waiter {
  resolve(): void;
  reject(error: unknown): void;
}

/** Debian's kernel in v86, in this thread; it runs shell scripts one after the other. */
export class Guest {
  readonly machine: V86;
  readonly #options: GuestOptions;
  readonly #shown: string[] = [];
  #told = new GuestResults();
  #waiter: Waiter | undefined;

  private constructor(machine: V86, options: GuestOptions) {
    this.machine = machine;
    this.#options = options;
    machine.add_listener(
      'serial0-output-byte',
      serialLines((line) => this.#show(line)),
    );
    machine.add_listener(
      'serial1-output-byte',
      serialLines((line) => this.#hear(line)),
    );
    // The processor has halted for good. Its types don't know the event.
    machine.add_listener('cpu-event-halt' as 'emulator-stopped', () => this.#waiter?.resolve());
  }

  /** A machine with its devices, before it is switched on. */
  static async create(kit: GuestKit, options: GuestOptions = {}): Promise<Guest> {
    const files = Object.entries(options.files ?? {});
    const guest = new Guest(await createMachine(kit, newcArchive(files), options.machine ?? {}), options);
    try {
      await options.attach?.(guest.machine);
      return guest;
    } catch (error) {
      await guest[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Creates a guest and boots it. @throws Error with the console's last lines */
  static async boot(kit: GuestKit, options: GuestOptions = {}): Promise<Guest> {
    const guest = await Guest.create(kit, options);
    try {
      await guest.start();
      return guest;
    } catch (error) {
      await guest[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Switches the machine on; resolves when it waits for its first script. @throws Error with the console's last lines */
  async start(): Promise<void> {
    await this.#until(() => void this.machine.run());
  }

  /**
   * Goes on with a guest that was saved while its script asked for something; resolves with what the rest of the script tells.
   * @throws Error with the console's last lines when the script fails, or never ends
   */
  async goOn(answer: string): Promise<GuestResults> {
    return await this.#results(() => {
      this.#say(answer);
      void this.machine.run();
    });
  }

  /**
   * Runs a shell script in the guest; the first command that fails ends it.
   * @throws Error with the console's last lines when the script fails, or never ends
   */
  async run(script: string): Promise<GuestResults> {
    return await this.#results(() => this.#say(`${script}\n${END_OF_SCRIPT}`));
  }

  /** Powers the guest off; resolves when its processor has halted. */
  async powerOff(): Promise<void> {
    await this.#until(() => this.#say(`poweroff -f\n${END_OF_SCRIPT}`));
  }

  /** Ends the machine at once, as a power cut would. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.machine.destroy();
  }

  async #results(action: () => void): Promise<GuestResults> {
    this.#told = new GuestResults();
    await this.#until(action);
    const exit = this.#told.text('exit');
    if (exit !== '0') throw this.#describe(`the guest's script left with status ${exit}`);
    return this.#told;
  }

  /** Does something and waits until the guest asks for a script, or halts. */
  async #until(action: () => void): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    try {
      await new Promise<void>((resolve, reject) => {
        this.#waiter = { resolve, reject };
        const expire = (): void => reject(new Error('the guest never came to its end'));
        timer = setTimeout(expire, this.#options.deadlineMs ?? DEADLINE_MS);
        action();
      });
    } catch (error) {
      throw this.#describe(String(error), error);
    } finally {
      clearTimeout(timer);
      this.#waiter = undefined;
    }
  }

  #hear(line: string): void {
    const [word, name = '', ...rest] = line.split(' ');
    if (word === 'RESULT') {
      this.#options.onTold?.(name);
      this.#told.set(name, rest.join(' '));
    }
    if (word !== 'ASK') return;
    if (name === 'script') this.#waiter?.resolve();
    else this.#answer(name).catch((error: unknown) => this.#waiter?.reject(error));
  }

  async #answer(name: string): Promise<void> {
    const action = this.#options.answers?.[name];
    if (action === undefined) throw new Error(`the guest asks for ${name}: nobody answers that`);
    this.#say((await action()) ?? 'ok');
  }

  #say(text: string): void {
    this.machine.serial_send_bytes(TALK_PORT, Buffer.from(`${text}\n`));
  }

  #show(line: string): void {
    this.#shown.push(line);
    if (this.#shown.length > SHOWN_LINES) this.#shown.shift();
    this.#options.onConsole?.(line);
  }

  #describe(what: string, cause?: unknown): Error {
    return new Error(`${what}; the guest showed last:\n${this.#shown.join('\n')}`, { cause });
  }
}
