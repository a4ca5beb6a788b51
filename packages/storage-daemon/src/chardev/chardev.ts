import type { Readable, Writable } from 'node:stream';

/** One client of a character device; the same object twice where it is a socket. */
export interface ChardevClient {
  readonly input: Readable;
  readonly output: Writable;
}

/** Serves a client until it or the daemon has had enough. Never rejects. */
export type ChardevFrontend = (client: ChardevClient) => Promise<void>;

/** A character device: where a monitor's clients come from, one at a time. */
export interface Chardev {
  readonly id: string;
  readonly kind: 'socket' | 'stdio';
  /** What `query-chardev` calls `filename`. */
  readonly description: string;
  readonly connected: boolean;
  /** Hands clients to `frontend` from now on. Once at most. */
  attach(frontend: ChardevFrontend): void;
  /** Ends the connection, lets no further ones come, removes the socket. */
  close(): Promise<void>;
}
