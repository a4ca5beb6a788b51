import { getSystemErrorMap } from 'node:util';

/** Whether an error tells its reader something: all errors of ours and of the system carry a code, bugs don't. */
export function isExpected(error: unknown): error is Error & { readonly code: string } {
  return error instanceof Error && 'code' in error && typeof error.code === 'string';
}

/** A system error in the words of strerror(3), anything else in its own. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // Messages of ours name the thing that is wrong already; those of Node.js name the system call first.
  if (!('syscall' in error) || !('errno' in error) || typeof error.errno !== 'number') return error.message;
  const text = getSystemErrorMap().get(error.errno)?.[1];
  return text === undefined ? error.message : `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
}

/** What must not reach a terminal, or break a line: control characters, and the two separators of Unicode's. */
const CONTROL = /[\p{Cc}\p{Zl}\p{Zp}]+/gu;

/** `text` on one line, whatever a file name or a client put into it. */
export function oneLine(text: string): string {
  return text.replace(CONTROL, ' ').trim();
}
