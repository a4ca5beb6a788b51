import { closeFd } from '@iothreads/linux';

/** Descriptors that came with one message: each is taken by somebody, or closed with the rest. */
export class ReceivedFds {
  readonly #fds: number[] = [];
  readonly #most: number;
  /** More came than there was room for; those are closed. */
  overflowed = false;

  constructor(most: number) {
    this.#most = most;
  }

  /** How many there are that nobody has taken. */
  get count(): number {
    return this.#fds.length;
  }

  /** The next one, to look at. There must be one. */
  get first(): number {
    return this.#fds[0]!;
  }

  /** Takes descriptors over, as many as there is room for. */
  add(fds: readonly number[]): void {
    for (const fd of fds) {
      if (this.#fds.length < this.#most) this.#fds.push(fd);
      else {
        this.overflowed = true;
        closeFd(fd);
      }
    }
  }

  /** The next one, which is the caller's from now on. There must be one. */
  take(): number {
    return this.#fds.shift()!;
  }

  /** Closes what nobody has taken. */
  closeRest(): void {
    for (const fd of this.#fds.splice(0)) closeFd(fd);
  }
}
