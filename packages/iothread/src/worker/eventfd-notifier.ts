import type * as linux from '@iothreads/linux';
import type { DeviceChannel } from '../shared/device-channel.js';
import type { QueueNotifier } from './queue-notifier.js';

/** Eventfds of a queue, the owner's to keep open until the queue has stopped; -1 where there is none. */
export interface QueueEventfds {
  /** The driver kicks by adding to it. Without one the ring is looked at now and then only. */
  readonly kickFd: number;
  /** Interrupts the driver. Without one it polls. */
  readonly callFd: number;
  /** Tells the driver's side that the ring is broken. */
  readonly errFd: number;
}

/** A driver in another process: eventfds. */
export class EventfdNotifier implements QueueNotifier {
  readonly #linux: typeof linux;
  readonly #channel: DeviceChannel;
  readonly #kickFd: number;
  readonly #errFd: number;
  readonly #watch: linux.ReadableWatch | undefined;
  #callFd: number;
  #rung = false;

  /** @param onKick gives the device a turn soon */
  constructor(calls: typeof linux, fds: QueueEventfds, channel: DeviceChannel, onKick: () => void) {
    this.#linux = calls;
    this.#channel = channel;
    this.#kickFd = fds.kickFd;
    this.#callFd = fds.callFd;
    this.#errFd = fds.errFd;
    if (fds.kickFd === -1) return;
    this.#watch = new calls.ReadableWatch(fds.kickFd, () => {
      onKick();
      if (this.#rung) {
        // No turn has come since the last call: the queue is being drained, and the watch would never be still.
        this.clearKick();
      } else {
        this.#rung = true;
      }
    });
  }

  /** Kicks come as callbacks, never here. */
  takeKick(): boolean {
    return false;
  }

  /** Reading the eventfd is a system call: it waits until the requests behind it are on their way. */
  clearKick(): void {
    if (!this.#rung) return;
    this.#rung = false;
    this.#linux.clearEventfd(this.#kickFd);
  }

  interrupt(): void {
    if (this.#callFd !== -1) this.#linux.signalEventfd(this.#callFd);
  }

  set callFd(fd: number) {
    this.#callFd = fd;
  }

  ringBroken(): void {
    if (this.#errFd !== -1) this.#linux.signalEventfd(this.#errFd);
    if (!this.#channel.broken) this.#channel.setBroken(true);
  }

  close(): void {
    this.#watch?.close();
  }
}
