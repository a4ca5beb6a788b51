import { once } from 'node:events';
import { NO_RESTARTS, type Restarts } from './restarts.js';

/** Tells a child that it is supervised, and by which process. */
export const SUPERVISOR_PID = 'IOTHREADS_STORAGE_DAEMON_SUPERVISOR_PID';

/** What a supervised process says. */
export type Report = 'ready' | 'stopping';

/** What its supervisor says, once: serve. */
export interface TakeOver {
  readonly takeOver: Restarts;
}

/** Read once, so that nobody below us takes it for theirs. */
const supervisorPid = takeSupervisorPid();

function takeSupervisorPid(): number | undefined {
  const text = process.env[SUPERVISOR_PID];
  delete process.env[SUPERVISOR_PID];
  return text === undefined || !/^\d{1,10}$/.test(text) || process.send === undefined
    ? undefined
    : Number(text);
}

/** A daemon's way to its supervisor; one that has none supervises itself, and there is nothing to it. */
export class Supervision {
  /** undefined where there is none. */
  readonly supervisorPid: number | undefined = supervisorPid;
  #restarts = NO_RESTARTS;

  /** Those before this process. */
  get restarts(): Restarts {
    return this.#restarts;
  }

  /** Resolves when it is this process's turn to serve. */
  async turn(): Promise<void> {
    if (this.supervisorPid === undefined) return;
    const message = once(process, 'message') as Promise<[TakeOver]>;
    // There is never a daemon without its supervisor: the next one finds sockets and images free.
    await this.bindToSupervisor();
    [{ takeOver: this.#restarts }] = await message;
  }

  /** Lets this process end with its supervisor. Again after a change of user, which undoes it. */
  async bindToSupervisor(): Promise<void> {
    if (this.supervisorPid === undefined) return;
    const { killWithParent } = await import('@iothreads/linux');
    killWithParent();
    // It ended before that: whoever adopted us is nobody's supervisor.
    if (process.ppid !== this.supervisorPid) process.kill(process.pid, 'SIGKILL');
  }

  /** Front ends can connect. */
  ready(): void {
    this.#report('ready');
  }

  /** Somebody wants the daemon to end: whatever its status, it is not to be started again. */
  stopping(): void {
    this.#report('stopping');
  }

  #report(report: Report): void {
    if (this.supervisorPid !== undefined) process.send!(report);
  }
}
