/**
 * The front end's door: it drives any vhost-user-blk server, for tests and benches; its messages, right or wrong.
 *
 * @packageDocumentation
 */
export { Connection, type Message } from '../connection.js';
export { type ReceivedFds } from '../received-fds.js';
export * from '../protocol/config-payload.js';
export * from '../protocol/inflight-payload.js';
export * from '../protocol/integers.js';
export * from '../protocol/memory-payloads.js';
export * from '../protocol/message-header.js';
export * from '../protocol/protocol-features.js';
export * from '../protocol/requests.js';
export * from '../protocol/vring-payloads.js';
export { ConfigChanges } from './config-changes.js';
export { encodeRange, FrontEndQueue, type Completion, type FrontEndQueueOptions } from './front-end-queue.js';
export { FrontEndRequests } from './front-end-requests.js';
export { VhostUserFrontEnd, type FrontEndOptions } from './front-end.js';
export { InflightMemory } from './inflight-memory.js';
export { SharedRegion, type RegionOptions } from './shared-region.js';
