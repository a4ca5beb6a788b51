import { createRequire } from 'node:module';
import { join } from 'node:path';
import { V86, type V86Options } from 'v86';
import { GUEST_WORDS } from './guest-init.js';
import type { GuestKit } from './guest-kit.js';
import { newcArchive } from './newc-archive.js';

const WASM = join(createRequire(import.meta.url).resolve('v86'), '../v86.wasm');

/** Against hangs only: a boot takes 7 s, on a busy machine 40. */
const DEADLINE_MS = 180_000;
/** How much of the guest's console an error shows. */
const SHOWN_LINES = 40;
/** v86 puts the initial ramdisk at 64 MiB. */
const MEMORY_BYTES = 128 << 20;

/**
 * No ACPI and no APIC: v86 has them switched off. The rest is time that the guest needn't take: probes for hardware that
 * isn't there, self-tests, mitigations for a processor that speculates on nothing. `init_on_alloc=0`: a guest that clears its pages hides
 * a device that forgets to tell v86's compiler what it wrote.
 */
const KERNEL_PARAMETERS = [
  'console=ttyS0,115200n8',
  'acpi=off noapic nolapic tsc=reliable noisapnp pnpbios=off',
  'mitigations=off cryptomgr.notests init_on_alloc=0',
  'quiet panic=-1 rdinit=/init',
].join(' ');

export interface GuestOptions {
  /** What the guest does, as a shell script; the first command that fails ends it. */
  readonly script: string;
  /** Adds to the machine before it starts. */
  readonly attach?: (emulator: V86) => void | Promise<void>;
  /** What the host does when the script asks for it, by name; the script gets the answer as `$answer`. */
  readonly answers?: Readonly<Record<string, (emulator: V86) => Promise<string | void> | string | void>>;
  /** Options of v86's on top of those that the guest needs. */
  readonly machine?: V86Options;
  /** Further files for the guest, by their path. */
  readonly files?: Readonly<Record<string, Uint8Array>>;
  /** Gets what the guest's console shows. */
  readonly onConsole?: (line: string) => void;
  /** Default 180,000. */
  readonly deadlineMs?: number;
}

/** Calls back with whole lines of what a serial port sends, byte by byte. */
function lines(listener: (line: string) => void): (byte: number) => void {
  let line: number[] = [];
  return (byte) => {
    if (byte !== 10) {
      line.push(byte);
      return;
    }
    const text = Buffer.from(line).toString('utf8').trimEnd();
    line = [];
    listener(text);
  };
}

/**
 * Boots Debian's kernel in v86, in this thread, runs a script in it, and resolves with what the script told when the guest has
 * powered off.
 * @throws Error with the console's last lines
 */
export async function bootGuest(kit: GuestKit, options: GuestOptions): Promise<ReadonlyMap<string, string>> {
  const files = Object.entries(options.files ?? {});
  const script = newcArchive([['script', Buffer.from(`${GUEST_WORDS}\n${options.script}`)], ...files]);
  const initrd = new Uint8Array(Buffer.concat([kit.initramfs, script])).buffer;
  const emulator = new V86({
    wasm_path: WASM,
    autostart: false,
    fastboot: true,
    memory_size: MEMORY_BYTES,
    vga_memory_size: 2 << 20,
    disable_speaker: true,
    disable_keyboard: true,
    disable_mouse: true,
    uart1: true,
    bios: { buffer: kit.bios },
    bzimage: { buffer: kit.kernel },
    initrd: { buffer: initrd },
    cmdline: KERNEL_PARAMETERS,
    // The types know no `none`.
    net_device: { type: 'none' } as unknown as NonNullable<V86Options['net_device']>,
    ...options.machine,
  });

  const told = new Map<string, string>();
  const shown: string[] = [];
  const answers: NonNullable<GuestOptions['answers']> = { poweroff: () => undefined, ...options.answers };
  const answer = async (name: string): Promise<void> => {
    const action = answers[name];
    if (action === undefined) throw new Error(`the guest asks for ${name}: nobody answers that`);
    const said = await action(emulator);
    emulator.serial_send_bytes(1, Buffer.from(`${said ?? 'ok'}\n`));
  };

  let timer: NodeJS.Timeout | undefined;
  try {
    await new Promise<void>((resolve) => emulator.add_listener('emulator-loaded', resolve));
    await options.attach?.(emulator);
    await new Promise<void>((resolve, reject) => {
      const expire = (): void => reject(new Error('the guest never came to its end'));
      timer = setTimeout(expire, options.deadlineMs ?? DEADLINE_MS);
      const onConsole = (line: string): void => {
        shown.push(line);
        if (shown.length > SHOWN_LINES) shown.shift();
        options.onConsole?.(line);
      };
      const onTold = (line: string): void => {
        const [word, name = '', ...rest] = line.split(' ');
        if (word === 'RESULT') told.set(name, rest.join(' '));
        if (word === 'ASK') answer(name).catch(reject);
      };
      emulator.add_listener('serial0-output-byte', lines(onConsole));
      emulator.add_listener('serial1-output-byte', lines(onTold));
      // The processor has halted for good. The types don't know the event.
      emulator.add_listener('cpu-event-halt' as 'emulator-stopped', resolve);
      emulator.run().catch(reject);
    });
    const exit = told.get('exit');
    if (exit !== '0') throw new Error(`the guest's script left with status ${exit ?? 'unknown'}`);
    return told;
  } catch (error) {
    throw new Error(`${String(error)}; the guest showed last:\n${shown.join('\n')}`, { cause: error });
  } finally {
    clearTimeout(timer);
    await emulator.destroy();
  }
}
