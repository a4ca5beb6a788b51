// Messages that make no sense, one by one, to a real daemon: an error where the protocol has one, otherwise a closed connection; nothing
// is kept, and nobody else notices anything.
import { type FrontEndOptions, FrontEndRequests, VhostUserFrontEnd } from '@iothreads/vhost-user/front-end';
import { afterAll, beforeAll } from 'vitest';
import { guestMappings, openFds } from '../../packages/vhost-user/test/support/open-fds.js';
import {
  describeHostileMessages,
  type MessageTarget,
} from '../../packages/vhost-user/test/support/hostile-messages.js';
import { until } from '../support/within.js';
import { HostileDaemon } from './support/hostile-daemon.js';

const VICTIM = 'victim';

/** One export of a daemon, as the tests of messages see it. */
class DaemonTarget implements MessageTarget {
  readonly tellsAll = false;
  readonly #daemon: HostileDaemon;
  readonly #connections: { close(): void | Promise<void> }[] = [];
  #fdsAtRest = 0;
  #mappingsAtRest = 0;

  constructor(daemon: HostileDaemon) {
    this.#daemon = daemon;
  }

  async settle(): Promise<void> {
    // Whatever is opened once and kept is open from now on.
    await this.connect();
    await this.#disconnect();
    this.#fdsAtRest = await this.#daemon.restingFds(this.#daemon.disk(VICTIM));
    this.#mappingsAtRest = this.guestMappings();
    await this.#atRest();
  }

  async prepare(): Promise<void> {
    this.#daemon.forgetMessages();
  }

  connectBare(): FrontEndRequests {
    const requests = FrontEndRequests.connect(this.#daemon.disk(VICTIM).socket);
    this.#connections.push(requests);
    return requests;
  }

  async connect(options?: FrontEndOptions): Promise<VhostUserFrontEnd> {
    const frontEnd = await VhostUserFrontEnd.connect(this.#daemon.disk(VICTIM).socket, options);
    this.#connections.push(frontEnd);
    return frontEnd;
  }

  openFds(): number {
    return openFds(this.#daemon.pid);
  }

  guestMappings(): number {
    return guestMappings(this.#daemon.pid);
  }

  messages(level: string): readonly string[] {
    return this.#daemon.messages(level);
  }

  async expectUnharmed(): Promise<void> {
    await this.#disconnect();
    await this.#daemon.expectUnharmed(this.#daemon.disk(VICTIM));
    await this.#atRest();
  }

  async #atRest(): Promise<void> {
    await until('all descriptors are closed', () => this.openFds() === this.#fdsAtRest);
    await until('all memory is unmapped', () => this.guestMappings() === this.#mappingsAtRest);
  }

  async #disconnect(): Promise<void> {
    for (const connection of this.#connections.splice(0)) await connection.close();
  }
}

let daemon: HostileDaemon;
let target: DaemonTarget;

beforeAll(async () => {
  daemon = await HostileDaemon.start({ [VICTIM]: {} });
  target = new DaemonTarget(daemon);
  await target.settle();
});

afterAll(() => daemon[Symbol.asyncDispose]());

describeHostileMessages(() => target);
