import type { Readable, Writable } from 'node:stream';

/**
 * Parts of the storage daemon that take what others wrote. It is a program, not a library, and so has no door for them: they are taken
 * from what was built, as the benches take the program itself.
 */
const DIST = new URL('../../../../storage-daemon/dist/', import.meta.url);

const load = (file: string): Promise<unknown> => import(new URL(file, DIST).href);

export interface KeyvalSyntax {
  readonly impliedKey?: string;
  readonly switches?: boolean;
}

/** What is thrown over mistakes of whoever wrote the text. */
export interface Mistake extends Error {
  readonly code: string;
}

export const { parseKeyval } = (await load('options/keyval.js')) as {
  parseKeyval: (text: string, syntax?: KeyvalSyntax) => unknown;
};
export const { parseJson } = (await load('options/json-text.js')) as { parseJson: (text: string) => unknown };
export const { JsonStream } = (await load('qmp/json-stream.js')) as {
  JsonStream: new () => {
    push(chunk: string): Iterable<{ readonly value: unknown } | { readonly error: Mistake }>;
  };
};
const { StorageDaemonError } = (await load('storage-daemon-error.js')) as {
  StorageDaemonError: new (code: string, message: string) => Mistake;
};

/** @throws the error itself, unless it is a mistake that is told */
export function expectMistake(error: unknown): asserts error is Mistake {
  if (!(error instanceof StorageDaemonError)) throw error;
  if (error.message === '') throw new Error('a mistake without words');
}

/** Reads an option of the command line: its name without dashes, and its value. */
export type ReadOption = (name: OptionName, text: string) => unknown;
const OPTION_NAMES = ['blockdev', 'export', 'object', 'chardev', 'monitor'] as const;
export type OptionName = (typeof OPTION_NAMES)[number];

/** How the command line reads these options, with all that is checked of them. */
export async function optionReader(): Promise<ReadOption> {
  const { readOption } = (await load('options/read-option.js')) as {
    readOption: (schemas: unknown, text: string, syntax: KeyvalSyntax) => unknown;
  };
  const schemas = new Map<string, unknown>();
  for (const name of OPTION_NAMES) {
    const module = (await load(`options/${name}-options.js`)) as Record<string, unknown>;
    schemas.set(name, module[`${name}Schemas`]);
  }
  return (name, text) => readOption(schemas.get(name), text, SYNTAX[name]);
}

export const SYNTAX: Readonly<Record<OptionName, KeyvalSyntax>> = {
  blockdev: { impliedKey: 'driver' },
  export: { impliedKey: 'type' },
  object: { impliedKey: 'qom-type' },
  chardev: { impliedKey: 'backend', switches: true },
  monitor: { impliedKey: 'chardev', switches: true },
};

/** Nobody starts this one again. */
const ALONE = { supervisorPid: undefined, restarts: { count: 0, recent: [] } };

/** A daemon in this process, and conversations with it. */
export interface Daemon {
  /** Talks to one client until its input ends. Rejects where a client has found a bug. */
  talk(client: { readonly input: Readable; readonly output: Writable }): Promise<void>;
  close(): Promise<boolean>;
}

interface StorageDaemon {
  close(): Promise<boolean>;
}

/** Starts one that has nothing yet. */
export async function startDaemon(): Promise<Daemon> {
  const { Log } = (await load('log.js')) as { Log: new (sink: (line: string) => void) => unknown };
  const daemons = (await load('storage-daemon.js')) as {
    StorageDaemon: new (
      log: unknown,
      supervision: unknown,
      options: { readonly stdioAllowed: boolean },
    ) => StorageDaemon;
  };
  const { QmpSession } = (await load('qmp/qmp-session.js')) as {
    QmpSession: new (
      client: unknown,
      execute: (name: string, args: unknown) => Promise<unknown>,
      pretty: boolean,
    ) => { run(): Promise<void> };
  };
  const { executeCommand } = (await load('qmp/execute-command.js')) as {
    executeCommand: (daemon: StorageDaemon, name: string, args: unknown) => Promise<unknown>;
  };
  const daemon = new daemons.StorageDaemon(new Log(() => undefined), ALONE, { stdioAllowed: false });
  return {
    talk: (client) => new QmpSession(client, (name, args) => executeCommand(daemon, name, args), false).run(),
    close: () => daemon.close(),
  };
}
