/**
 * The package's door: an export, and what can go wrong with it. The front end has a door of its own.
 *
 * @packageDocumentation
 * @mergeModuleWith <project>
 */
export { type Log, type LogLevel } from './export-log.js';
export { type ListeningSocket, openListeningSocket, type SocketAddress } from './listening-socket.js';
export { VhostUserBlkExport, type VhostUserBlkOptions } from './vhost-user-blk-export.js';
export { VhostUserError, type VhostUserErrorCode } from './vhost-user-error.js';
