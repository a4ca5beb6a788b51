import { readFileSync, rmSync } from 'node:fs';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { describeError, isExpected } from '../describe-error.js';
import { StorageDaemonError } from '../storage-daemon-error.js';

/**
 * Writes our process id to a file, which is removed at the latest when the process exits.
 * @throws StorageDaemonError `ERR_PIDFILE`, also where the file is that of a process that lives
 */
export async function writePidfile(file: string): Promise<void> {
  // Absolute: whoever removes it may be in another directory.
  const path = resolve(file);
  try {
    await checkPidfile(path);
    await rm(path, { force: true });
    await writeFile(path, `${process.pid}\n`, { flag: 'wx', mode: 0o644 });
  } catch (error) {
    if (!isExpected(error) || error instanceof StorageDaemonError) throw error;
    throw mistake(file, `cannot create it: ${describeError(error)}`);
  }
  process.once('exit', () => {
    try {
      if (readFileSync(path, 'utf8') === `${process.pid}\n`) rmSync(path);
    } catch {
      // It is gone already.
    }
  });
}

/** Removes the file where it is ours, and where that is still allowed: the next daemon replaces that of a process that is gone. */
export async function removePidfile(file: string): Promise<void> {
  const path = resolve(file);
  try {
    if ((await readPid(path)) === process.pid) await rm(path, { force: true });
  } catch (error) {
    if (!isExpected(error)) throw error;
  }
}

/** @throws StorageDaemonError `ERR_PIDFILE` when the file is that of another process that lives */
async function checkPidfile(path: string): Promise<void> {
  const pid = await readPid(path);
  // Our own id is left from another life, before a restart of the machine or its container.
  if (pid === undefined || pid === process.pid || !isAlive(pid)) return;
  throw mistake(path, `process ${pid} has it and is running; stop that one, or use another file`);
}

/** @throws StorageDaemonError `ERR_PIDFILE` when it is something else than a pidfile */
async function readPid(path: string): Promise<number | undefined> {
  let text: string;
  try {
    text = (await readFile(path, 'utf8')).trim();
  } catch (error) {
    if (isExpected(error) && error.code === 'ENOENT') return undefined;
    throw error;
  }
  if (text === '') return undefined;
  if (/^[1-9]\d{0,9}$/.test(text)) return Number(text);
  throw mistake(path, 'there is a file that is no pidfile; remove it, or use another name');
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: it is there, but somebody else's.
    return isExpected(error) && error.code === 'EPERM';
  }
}

function mistake(path: string, problem: string): StorageDaemonError {
  return new StorageDaemonError('ERR_PIDFILE', `--pidfile ${path}: ${problem}`);
}
