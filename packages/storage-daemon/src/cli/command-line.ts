import { StorageDaemonError } from '../storage-daemon-error.js';

const TAKES_VALUE = {
  blockdev: true,
  chardev: true,
  daemonize: false,
  export: true,
  help: false,
  monitor: true,
  'nbd-server': true,
  object: true,
  pidfile: true,
  'run-with': true,
  supervise: false,
  trace: true,
  version: false,
} as const;

type OptionName = keyof typeof TAKES_VALUE;

const SHORT: Readonly<Record<string, OptionName>> = { h: 'help', V: 'version', T: 'trace' };
const HINT = '; --help lists the options';

/** One option with its value, as it stood on the command line. */
export interface GivenOption {
  readonly name: OptionName;
  readonly value: string;
  /** How it was written, for messages. */
  readonly text: string;
}

/**
 * Takes a command line apart as getopt_long(3) does. By hand: `parseArgs` knows no abbreviations, and takes a value that
 * begins with a dash for an option.
 * @throws StorageDaemonError `ERR_USAGE`
 */
export function parseCommandLine(args: readonly string[]): GivenOption[] {
  const given: GivenOption[] = [];
  for (let at = 0; at < args.length; at++) {
    const arg = args[at]!;
    const take = (name: OptionName, written: string, attached: string | undefined): void => {
      if (!TAKES_VALUE[name]) {
        if (attached !== undefined) throw usage(`option '--${name}' doesn't allow an argument`);
        given.push({ name, value: '', text: written });
        return;
      }
      const value = attached ?? args[++at];
      if (value === undefined) throw usage(`option '--${name}' requires an argument`);
      given.push({ name, value, text: `${written}${attached === undefined ? ' ' : '='}${value}` });
    };
    if (arg === '--' && at + 1 < args.length) throw usage(`${args[at + 1]!}: Unexpected argument`);
    else if (arg === '--') break;
    else if (arg.startsWith('--')) {
      const equals = arg.indexOf('=');
      const written = equals === -1 ? arg : arg.slice(0, equals);
      take(longOption(written.slice(2)), written, equals === -1 ? undefined : arg.slice(equals + 1));
    } else if (arg.startsWith('-') && arg !== '-') shortOptions(arg, take);
    else throw usage(`${arg}: Unexpected argument`);
  }
  return given;
}

function longOption(word: string): OptionName {
  const names = Object.keys(TAKES_VALUE) as OptionName[];
  if (names.includes(word as OptionName)) return word as OptionName;
  const candidates = word === '' ? [] : names.filter((name) => name.startsWith(word));
  if (candidates.length === 1) return candidates[0]!;
  if (candidates.length === 0) throw usage(`unrecognized option '--${word}'`);
  const list = candidates.map((name) => `'--${name}'`).join(' ');
  throw usage(`option '--${word}' is ambiguous; possibilities: ${list}`);
}

function shortOptions(
  arg: string,
  take: (name: OptionName, written: string, attached: string | undefined) => void,
): void {
  for (let i = 1; i < arg.length; i++) {
    const letter = arg[i]!;
    const name = Object.hasOwn(SHORT, letter) ? SHORT[letter]! : undefined;
    if (name === undefined) throw usage(`invalid option -- '${letter}'`);
    const rest = arg.slice(i + 1);
    const attached = TAKES_VALUE[name] && rest !== '' ? rest : undefined;
    take(name, `-${letter}`, attached);
    if (TAKES_VALUE[name]) return;
  }
}

function usage(message: string): StorageDaemonError {
  return new StorageDaemonError('ERR_USAGE', `${message}${HINT}`);
}
