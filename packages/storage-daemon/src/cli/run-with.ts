import * as v from 'valibot';
import { fields } from '../options/check-options.js';
import { readOption } from '../options/read-option.js';
import { inBothDialects } from '../options/scalars.js';
import { StorageDaemonError } from '../storage-daemon-error.js';
import type { GivenOption } from './command-line.js';

/** Whom the daemon is to be, once it has opened what its options name. */
export interface RunAs {
  readonly uid: number;
  readonly gid: number;
  /** Where the user has one; then it gets the groups that it is a member of. */
  readonly name: string | undefined;
}

const runWithSchemas = inBothDialects(({ text }) => fields({ user: v.optional(text) }));

/** Largest id; the one above means "no change" to the system calls. */
const MAX_ID = 2 ** 32 - 2;

/**
 * Whom `--run-with user=` names, the last one where there are several; undefined where there is none. By itself it changes nothing.
 * @throws StorageDaemonError `ERR_PARAMETER`, `ERR_PRIVILEGES`
 */
export async function readRunAs(options: readonly GivenOption[]): Promise<RunAs | undefined> {
  let found: { readonly user: string; readonly text: string } | undefined;
  for (const { name, value, text } of options) {
    if (name !== 'run-with') continue;
    const { user } = readOption(runWithSchemas, value, {});
    if (user !== undefined) found = { user, text };
  }
  if (found === undefined) return undefined;
  const { user, text } = found;
  const runAs = numbersOf(user) ?? (await userOf(user));
  if (runAs === undefined) {
    throw new StorageDaemonError(
      'ERR_PARAMETER',
      `${text}: there is no user '${user}'; give the name of one, or the numbers UID:GID`,
    );
  }
  if (runAs.uid === 0 || runAs.gid === 0) {
    throw new StorageDaemonError('ERR_PARAMETER', `${text}: that is root, which has all privileges`);
  }
  if (process.geteuid!() !== 0) {
    throw new StorageDaemonError(
      'ERR_PRIVILEGES',
      `${text}: only root can become another user; leave it out, or start the daemon as root`,
    );
  }
  return runAs;
}

function numbersOf(user: string): RunAs | undefined {
  const [, uid, gid] = /^(\d{1,10}):(\d{1,10})$/.exec(user) ?? [];
  if (uid === undefined || Number(uid) > MAX_ID || Number(gid) > MAX_ID) return undefined;
  return { uid: Number(uid), gid: Number(gid), name: undefined };
}

async function userOf(name: string): Promise<RunAs | undefined> {
  const { findUser } = await import('@iothreads/linux');
  const user = findUser(name);
  return user === undefined ? undefined : { ...user, name };
}

/** @types/node has forgotten this one. */
type ProcessWithInitgroups = typeof process & { initgroups(user: string, extraGroup: number): void };

/** Before any thread is started: no program that this process ever runs gets more rights than it has. */
export async function renounceNewPrivileges(): Promise<void> {
  const { setNoNewPrivileges } = await import('@iothreads/linux');
  setNoNewPrivileges();
}

/**
 * Becomes somebody else, with all threads (the C library tells each of them) and for good.
 * @throws StorageDaemonError `ERR_PRIVILEGES`
 */
export function becomeUser({ uid, gid, name }: RunAs): void {
  try {
    // Groups first: afterwards nobody may change them.
    process.setgid!(gid);
    if (name === undefined) process.setgroups!([gid]);
    else (process as ProcessWithInitgroups).initgroups(name, gid);
    process.setuid!(uid);
  } catch (error) {
    throw failed(error instanceof Error ? error.message : String(error));
  }
  // Real, effective and saved ids were set; nothing leads back.
  try {
    process.setuid!(0);
  } catch {
    return;
  }
  throw failed('it could be undone');
}

const failed = (why: string): StorageDaemonError =>
  new StorageDaemonError('ERR_PRIVILEGES', `--run-with user: the user could not be changed: ${why}`);
