import { closeFd, createEventfd, createMemfd, createSocketPair } from '@iothreads/linux';

/** Descriptors of a test's own, to send along. */
export class OwnFds {
  readonly #fds: number[] = [];

  eventfd(): number {
    return this.#keep(createEventfd());
  }

  eventfds(count: number): number[] {
    return Array.from({ length: count }, () => this.eventfd());
  }

  memory(byteLength = 65536): number {
    return this.#keep(createMemfd('guest-memory', byteLength));
  }

  socket(): number {
    const [one, other] = createSocketPair();
    this.#keep(other);
    return this.#keep(one);
  }

  closeAll(): void {
    for (const fd of this.#fds.splice(0)) closeFd(fd);
  }

  #keep(fd: number): number {
    this.#fds.push(fd);
    return fd;
  }
}
