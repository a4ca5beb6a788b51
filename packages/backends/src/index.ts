/**
 * The package's door: the drives a user writes down, the calls that bring them to an iothread, and the interface of a
 * driver. How each driver works stays inside its folder.
 *
 * @packageDocumentation
 * @mergeModuleWith <project>
 */
export {
  BlockDriverError,
  type BlockDriver,
  type BlockDriverContext,
  type BlockGeometry,
} from './block-driver.js';
export { type BlockDriverType, type HeldDrive, type PreparedDrive } from './block-driver-type.js';
export { blkdebugDrive, type BlkdebugDriveOptions } from './blkdebug/blkdebug-driver-type.js';
export { type FaultError, type IoType } from './blkdebug/fault-limits.js';
export { type FaultRule } from './blkdebug/fault-rule.js';
export { type FaultReport, FaultRules } from './blkdebug/fault-rules.js';
export { blklogwritesDrive, type BlklogwritesDriveOptions } from './blklogwrites/blklogwrites-driver-type.js';
export { readWriteLog, type WriteLogEntry } from './blklogwrites/read-write-log.js';
export { WriteLog } from './blklogwrites/write-log.js';
export {
  driverType,
  holdDrive,
  openDrive,
  parseDrive,
  type DriveOptions,
  type ParsedDrive,
} from './block-driver-types.js';
export {
  DRIVER_ERROR_CHANNEL,
  failRequest,
  operationName,
  reportDriverError,
  type BlockOperationName,
  type DriverErrorMessage,
} from './driver-error-channel.js';
export { type FileDriveOptions } from './file/file-driver-type.js';
export { type MemoryDriveOptions } from './memory/memory-driver-type.js';
export { type ModuleDriveOptions } from './module/module-driver-type.js';
export { type CreateDisk, type UserDisk } from './module/user-disk.js';
export { type NullDriveOptions } from './null/null-driver-type.js';
export { MAX_NESTED_DRIVES } from './nested-drives.js';
export { describeValue } from './parse-options.js';
export { type RawDriveOptions } from './raw/raw-driver-type.js';
