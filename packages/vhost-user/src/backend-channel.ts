import { Connection } from './connection.js';
import { BackendRequest } from './protocol/requests.js';

/** The back end's way to ask the front end for something: a socket of its own, which came as a descriptor. */
export class BackendChannel {
  readonly #connection: Connection;

  /** @param fd owned by the channel from now on */
  constructor(fd: number) {
    this.#connection = new Connection(fd);
  }

  /** The configuration space has changed: read it again. @throws VhostUserError `ERR_DISCONNECTED` */
  configChanged(): void {
    // No answer is asked for: nothing depends on it, and it would have to be waited for.
    this.#connection.send(BackendRequest.CONFIG_CHANGE_MSG, 0, new Uint8Array());
  }

  close(): void {
    this.#connection.close();
  }
}
