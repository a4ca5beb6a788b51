import { checked, libc } from './libc.js';

const PR_SET_PDEATHSIG = 1;
const PR_SET_NO_NEW_PRIVS = 38;
const SIGKILL = 9;

const prctl = libc.func(
  'int prctl(int option, unsigned long a, unsigned long b, unsigned long c, unsigned long d)',
) as (option: number, a: number, b: number, c: number, d: number) => number;

/**
 * This process is killed when its parent ends. Whoever calls this then looks whether the parent is still there; a change of
 * user or group undoes it.
 */
export function killWithParent(): void {
  // Takes numbers only, as does the next.
  checked('prctl', prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0));
}

/** No program that this thread, or one that it starts from now on, executes gets more rights than it has. Irrevocable. */
export function setNoNewPrivileges(): void {
  checked('prctl', prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
}
