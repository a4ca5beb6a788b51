import type { Endpoint } from 'comlink';
import type { MessagePort } from 'node:worker_threads';

/**
 * A MessagePort of Node's has the browser's methods as well, which comlink calls; only their types differ. Comlink's own
 * adapter is not used: a port behind it never closes.
 */
export const asEndpoint = (port: MessagePort): Endpoint => port;
