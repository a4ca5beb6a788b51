/**
 * The package's door.
 *
 * @packageDocumentation
 * @mergeModuleWith <project>
 */
export { IOThreadRuntime } from './control/runtime.js';
export type { BlockStatsReport, IOThreadReport, RuntimeEvents, RuntimeOptions } from './control/runtime.js';
export { BlockDevice } from './control/block-device.js';
export type { DeviceState, QueuePosition } from './control/device-state.js';
export type { PlacedDevice } from './control/placed-device.js';
export { ExportedDevice, type ExportedQueue } from './control/exported-device.js';
export { checkConfiguration } from './control/configuration.js';
export type {
  CheckedDevice,
  CheckedIOThread,
  Configuration,
  DeviceOptions,
  Existing,
  ExportOptions,
  IOThreadOptions,
} from './control/configuration.js';
export { machineConfiguration } from './control/machine/machine-configuration.js';
export type {
  Machine,
  MachineDevice,
  MachineDrive,
  MachineIOThread,
} from './control/machine/machine-schema.js';
export type { RestartLimits } from './control/restart-limit.js';
export type { VqMapping, VqMappingOptions } from './control/vq-mapping.js';
export { IOThreadError, type IOThreadErrorCode } from './iothread-error.js';
export { DeviceChannel, type DevicePort, type IOStatus } from './shared/device-channel.js';
export {
  type IOErrorAction,
  READ_ERROR_POLICIES,
  type ErrorPolicies,
  type ReadErrorPolicy,
  WRITE_ERROR_POLICIES,
  type WriteErrorPolicy,
} from './shared/error-policies.js';
export { STATISTICS_KINDS, type KindStatistics, type StatisticsKind } from './shared/block-statistics.js';
export type { LoopStatisticsValues } from './shared/loop-statistics.js';
export type { MappedRegion } from './worker/mapped-memory.js';
export type { DriverErrorReport } from './worker/driver-error-reports.js';
export type { IOErrorReport } from './worker/io-error-reports.js';
export type { KeptFate } from './worker/served-queues.js';
export { nowNs } from './clock.js';
