import { type DriveOptions, parseDrive, type PreparedDrive } from '@iothreads/backends';
import {
  type BouncedMemory,
  checkSlots,
  DEFAULT_POLLING,
  GuestMemory,
  MAX_QUEUE_SIZE,
  type MemoryRegionOptions,
  MovingMemory,
  type PollingSettings,
  SERIAL_BYTES,
  VirtioError,
} from '@iothreads/core';
import * as v from 'valibot';
import { IOThreadError } from '../iothread-error.js';
import {
  type ErrorPolicies,
  READ_ERROR_POLICIES,
  type ReadErrorPolicy,
  WRITE_ERROR_POLICIES,
  type WriteErrorPolicy,
} from '../shared/error-policies.js';
import {
  BLOCK_SIZES,
  DEFAULT_QUEUE_SIZE,
  MAX_POLL_FACTOR,
  MAX_POLL_NS,
  MAX_QUEUES,
  MIN_QUEUE_SIZE,
  WELL_FORMED_ID,
} from './configuration-limits.js';
import type { CheckedExport } from './exported-device.js';
import { resolveMapping, type VqMapping, type VqMappingOptions } from './vq-mapping.js';

/** An iothread: QEMU's object of the same name, its properties in camel case. */
export interface IOThreadOptions {
  readonly id: string;
  /** The longest to poll before sleeping, nanoseconds; default 32768, 0 turns polling off. */
  readonly pollMaxNs?: number;
  /** Factor by which polling grows; 0, the default, means 2. */
  readonly pollGrow?: number;
  /** Divisor by which polling shrinks; default 2, 0 means back to nothing at once. */
  readonly pollShrink?: number;
}

/** A virtio-blk device. */
export interface DeviceOptions {
  readonly id: string;
  /** The iothread that serves it; or else `iothreadVqMapping`. */
  readonly iothread?: string;
  readonly iothreadVqMapping?: readonly VqMappingOptions[];
  readonly drive: DriveOptions;
  /**
   * Guest RAM: one shared buffer that starts at guest address 0, or regions of shared buffers, in which iothreads work themselves; or
   * memory that the emulator keeps to itself, which requests are copied from and to.
   */
  readonly memory: SharedArrayBuffer | readonly MemoryRegionOptions[] | BouncedMemory;
  /**
   * How this thread hears of completions: 'wake' (default) wakes it up, 'pull' leaves it to whoever calls `drain` on the device, so
   * that nothing is ever woken.
   */
  readonly completion?: 'wake' | 'pull';
  /** 1 to 256; default 1. */
  readonly numQueues?: number;
  /** Largest queue the driver may set up, a power of two from 4 to 32768; default 256. */
  readonly queueSize?: number;
  readonly readOnly?: boolean;
  /** What GET_ID answers: at most 20 bytes; default: the device's id, cut to fit. */
  readonly serial?: string;
  /** Bytes: 512 (default), 1024, 2048 or 4096. */
  readonly logicalBlockSize?: number;
  /** How long detaching, moving and resetting wait for requests in flight; default 30000 ms. */
  readonly drainTimeoutMs?: number;
  /**
   * What becomes of a write that the disk fails, a flush, discard or write of zeroes included: 'report' tells the guest, 'ignore' tells it
   * that all is well, 'stop' keeps the request and pauses the device until `continueDevice`, and 'enospc', the default, does that where
   * there is no space left and reports the rest.
   */
  readonly werror?: WriteErrorPolicy;
  /** ... and of a read: 'report' is the default; one that is ignored reads zeroes. */
  readonly rerror?: ReadErrorPolicy;
}

/** A virtio-blk device whose driver is in another process. */
export interface ExportOptions {
  readonly id: string;
  /** The iothreads that serve it; its queues are dealt out to them in turn. */
  readonly iothreads: readonly string[];
  /** Held by the caller, until the device has been removed. */
  readonly drive: PreparedDrive;
  readonly numQueues?: number;
  /** Largest queue that can be started; default 32768. */
  readonly queueSize?: number;
  readonly readOnly?: boolean;
  readonly serial?: string;
  readonly logicalBlockSize?: number;
  /** Whether the cache starts in write-back mode, as it should where the driver can flush; default true. */
  readonly writeback?: boolean;
  readonly drainTimeoutMs?: number;
  /** As a device's, but for the default, 'report': whoever serves somebody else's guest has to know of pauses first. */
  readonly werror?: WriteErrorPolicy;
  readonly rerror?: ReadErrorPolicy;
}

/** Many devices over many iothreads, checked as a whole before anything starts. */
export interface Configuration {
  readonly iothreads?: readonly IOThreadOptions[];
  readonly devices?: readonly DeviceOptions[];
}

/** `IOThreadOptions` with its defaults filled in. */
export interface CheckedIOThread {
  readonly id: string;
  readonly polling: PollingSettings;
}

/** `DeviceOptions` with its defaults filled in and its mapping resolved. */
export interface CheckedDevice {
  readonly id: string;
  readonly mapping: VqMapping;
  readonly drive: DriveOptions;
  readonly memory: readonly MemoryRegionOptions[] | BouncedMemory;
  readonly completion: 'wake' | 'pull';
  readonly numQueues: number;
  readonly queueSize: number;
  readonly readOnly: boolean;
  readonly serial: Uint8Array;
  readonly logicalBlockSize: number;
  readonly drainTimeoutMs: number;
  readonly policies: ErrorPolicies;
}

const Id = v.pipe(v.string(), WELL_FORMED_ID);
const Count = (least: number, most: number): v.GenericSchema<number> =>
  v.pipe(
    v.number(),
    v.check(
      (value) => Number.isInteger(value) && value >= least && value <= most,
      `must be an integer from ${least} to ${most}`,
    ),
  );

const IOThreadSchema = v.strictObject({
  id: Id,
  pollMaxNs: v.optional(Count(0, MAX_POLL_NS), DEFAULT_POLLING.pollMaxNs),
  pollGrow: v.optional(Count(0, MAX_POLL_FACTOR), DEFAULT_POLLING.pollGrow),
  pollShrink: v.optional(Count(0, MAX_POLL_FACTOR), DEFAULT_POLLING.pollShrink),
});

/** A power of two that a queue's size may reach. */
const QueueSize = v.pipe(
  Count(MIN_QUEUE_SIZE, MAX_QUEUE_SIZE),
  v.check((size) => (size & (size - 1)) === 0, 'must be a power of two'),
);
/** What devices have in common, whoever drives them. */
const common = {
  id: Id,
  drive: v.unknown(),
  numQueues: v.optional(Count(1, MAX_QUEUES), 1),
  readOnly: v.optional(v.boolean(), false),
  serial: v.optional(v.string()),
  logicalBlockSize: v.optional(v.picklist(BLOCK_SIZES), 512),
  drainTimeoutMs: v.optional(Count(1, 3_600_000), 30_000),
  rerror: v.optional(v.picklist(READ_ERROR_POLICIES), 'report'),
};

const DeviceSchema = v.strictObject({
  ...common,
  iothread: v.optional(v.string()),
  iothreadVqMapping: v.optional(
    v.pipe(
      v.array(v.strictObject({ iothread: v.string(), vqs: v.optional(v.array(Count(0, 65535))) })),
      v.minLength(1, 'must name at least one iothread'),
    ),
  ),
  memory: v.unknown(),
  completion: v.optional(v.picklist(['wake', 'pull']), 'wake'),
  werror: v.optional(v.picklist(WRITE_ERROR_POLICIES), 'enospc'),
  queueSize: v.optional(QueueSize, DEFAULT_QUEUE_SIZE),
});

const ExportSchema = v.strictObject({
  ...common,
  iothreads: v.pipe(v.array(v.string()), v.minLength(1, 'must name at least one iothread')),
  queueSize: v.optional(QueueSize, MAX_QUEUE_SIZE),
  writeback: v.optional(v.boolean(), true),
  werror: v.optional(v.picklist(WRITE_ERROR_POLICIES), 'report'),
});

/** What is there already: ids that a new part must not take, iothreads that it may name. */
export interface Existing {
  readonly iothreads: ReadonlySet<string>;
  readonly devices: ReadonlySet<string>;
}

/**
 * Checks a configuration as a whole, beside what exists already. Starts nothing.
 *
 * @throws IOThreadError naming the field: `ERR_CONFIG`, `ERR_DUPLICATE_ID` or `ERR_UNKNOWN_IOTHREAD`
 * @throws BlockDriverError for a mistake in a drive's options
 */
export function checkConfiguration(
  configuration: Configuration,
  existing: Existing = { iothreads: new Set(), devices: new Set() },
): { iothreads: CheckedIOThread[]; devices: CheckedDevice[] } {
  const Top = v.strictObject({
    iothreads: v.optional(v.array(v.unknown()), []),
    devices: v.optional(v.array(v.unknown()), []),
  });
  const top = parse(Top, configuration, '');
  const iothreadIds = new Set(existing.iothreads);
  const iothreads = top.iothreads.map((options, index) => {
    const path = `iothreads[${index}]`;
    const { id, ...polling } = parse(IOThreadSchema, options, path);
    claim(iothreadIds, id, `${path}.id`, 'iothread');
    return { id, polling };
  });
  const deviceIds = new Set(existing.devices);
  const devices = top.devices.map((options, index) => {
    const path = `devices[${index}]`;
    const device = checkDevice(options, path, iothreadIds);
    claim(deviceIds, device.id, `${path}.id`, 'device');
    return device;
  });
  return { iothreads, devices };
}

/** @throws IOThreadError as `checkConfiguration` */
export function checkExport(options: ExportOptions, existing: Existing): CheckedExport {
  const path = 'export';
  const { drive: _, serial: name, iothreads, werror, rerror, ...rest } = parse(ExportSchema, options, path);
  claim(new Set(existing.devices), rest.id, `${path}.id`, 'device');
  // More iothreads than queues: the ones behind have nothing to do.
  const used = iothreads.slice(0, rest.numQueues);
  const mapping = resolveMapping(
    {
      iothread: undefined,
      iothreadVqMapping: used.map((iothread) => ({ iothread })),
      numQueues: rest.numQueues,
    },
    path,
    existing.iothreads,
  );
  return {
    ...rest,
    mapping,
    serial: checkSerial(name, rest.id, `${path}.serial`),
    policies: { werror, rerror },
  };
}

function checkDevice(options: unknown, path: string, iothreads: ReadonlySet<string>): CheckedDevice {
  const { memory, drive, serial, iothread, iothreadVqMapping, werror, rerror, ...rest } = parse(
    DeviceSchema,
    options,
    path,
  );
  parseDrive(drive, `${path}.drive`);
  return {
    ...rest,
    drive: drive as DriveOptions,
    mapping: resolveMapping({ iothread, iothreadVqMapping, numQueues: rest.numQueues }, path, iothreads),
    memory: checkMemory(memory, `${path}.memory`),
    serial: checkSerial(serial, rest.id, `${path}.serial`),
    policies: { werror, rerror },
  };
}

function checkMemory(memory: unknown, path: string): CheckedDevice['memory'] {
  if (typeof (memory as BouncedMemory | undefined)?.buffer === 'function') {
    return checkBounced(memory as BouncedMemory, path);
  }
  const regions: unknown =
    memory instanceof SharedArrayBuffer ? [{ guestAddress: 0, buffer: memory }] : memory;
  if (!Array.isArray(regions)) {
    throw new IOThreadError(
      'ERR_CONFIG',
      `${path}: must be a SharedArrayBuffer, an array of memory regions, or an object with a function buffer`,
    );
  }
  for (const [index, region] of (regions as MemoryRegionOptions[]).entries()) {
    if (!(region?.buffer instanceof SharedArrayBuffer)) {
      throw new IOThreadError(
        'ERR_CONFIG',
        `${path}[${index}].buffer: must be a SharedArrayBuffer: iothreads work in guest memory themselves`,
      );
    }
  }
  try {
    void new GuestMemory(regions as MemoryRegionOptions[]);
  } catch (error) {
    if (!(error instanceof VirtioError)) throw error;
    throw new IOThreadError('ERR_CONFIG', `${path}: ${error.message}`, { cause: error });
  }
  return regions as MemoryRegionOptions[];
}

/** Room for requests to be copied through is made with the device; what is wrong with the rest shows here. */
function checkBounced(memory: BouncedMemory, path: string): BouncedMemory {
  try {
    checkSlots(memory);
    void new MovingMemory(memory);
  } catch (error) {
    if (!(error instanceof VirtioError)) throw error;
    throw new IOThreadError('ERR_CONFIG', `${path}: ${error.message}`, { cause: error });
  }
  return memory;
}

/** @throws IOThreadError `ERR_CONFIG`: it has more than 20 bytes */
export function checkSerial(serial: string | undefined, id: string, path: string): Uint8Array {
  const bytes = new TextEncoder().encode(serial ?? id);
  if (serial !== undefined && bytes.length > SERIAL_BYTES) {
    throw new IOThreadError('ERR_CONFIG', `${path}: at most ${SERIAL_BYTES} bytes, got ${bytes.length}`);
  }
  return bytes.subarray(0, SERIAL_BYTES);
}

/** Takes an id. @throws IOThreadError `ERR_DUPLICATE_ID` */
export function claim(ids: Set<string>, id: string, path: string, what: string): void {
  if (ids.has(id))
    throw new IOThreadError('ERR_DUPLICATE_ID', `${path}: there is already ${article(what)} '${id}'`);
  ids.add(id);
}

const article = (what: string): string => (what === 'iothread' ? `an ${what}` : `a ${what}`);

/** Valibot's first issue as one line that names the field. */
function parse<Schema extends v.GenericSchema>(
  schema: Schema,
  input: unknown,
  path: string,
): v.InferOutput<Schema> {
  const result = v.safeParse(schema, input, { abortEarly: true });
  if (result.success) return result.output;
  const issue = result.issues[0];
  let field = path;
  for (const item of issue.path ?? []) {
    field += typeof item.key === 'number' ? `[${item.key}]` : `${field === '' ? '' : '.'}${String(item.key)}`;
  }
  const problem =
    issue.type === 'strict_object' && issue.expected === 'never' ? 'unknown option' : describe(issue);
  throw new IOThreadError('ERR_CONFIG', `${field === '' ? 'configuration' : field}: ${problem}`);
}

function describe(issue: v.BaseIssue<unknown>): string {
  if (issue.kind === 'validation') return issue.message;
  if (issue.input === undefined) return 'is missing';
  return `must be ${issue.expected ?? 'something else'}, got ${issue.received}`;
}
