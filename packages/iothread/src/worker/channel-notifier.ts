import type { DeviceChannel } from '../shared/device-channel.js';
import type { QueueNotifier } from './queue-notifier.js';

/** A driver in this process: words in shared memory. */
export class ChannelNotifier implements QueueNotifier {
  readonly #channel: DeviceChannel;
  readonly #index: number;

  constructor(channel: DeviceChannel, index: number) {
    this.#channel = channel;
    this.#index = index;
  }

  takeKick(): boolean {
    return this.#channel.takeKick(this.#index);
  }

  clearKick(): void {}

  interrupt(): void {
    this.#channel.interrupt(this.#index);
  }

  ringBroken(): void {
    if (!this.#channel.broken) this.#channel.setBroken(true);
  }

  close(): void {}
}
