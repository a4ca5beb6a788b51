import { describeValue, MAX_NESTED_DRIVES } from '@iothreads/backends';
import * as v from 'valibot';
import { IOThreadError } from '../../iothread-error.js';
import {
  checkSerial,
  claim,
  type Configuration,
  type DeviceOptions,
  type IOThreadOptions,
} from '../configuration.js';
import { resolveMapping } from '../vq-mapping.js';
import { MachineDrives, type ResolvedDrive, tooManyNested } from './machine-drives.js';
import { type CheckedMachine, machineSchema } from './machine-schema.js';
import { isUnknownOption } from './machine-words.js';

type CheckedDevice = CheckedMachine['devices'][number];

/**
 * Checks a machine as a whole, and turns it into what `IOThreadRuntime.configure` takes.
 *
 * @param machine a `Machine`, wherever it comes from: a literal, a JSON file
 * @param options what can't be written down: guest RAM, and how completions are heard of; the same for all devices
 * @throws IOThreadError naming the place as it is written (`devices[1].num-queues`): `ERR_CONFIG`, `ERR_DUPLICATE_ID`,
 * `ERR_UNKNOWN_IOTHREAD` or `ERR_UNKNOWN_DRIVE`
 */
export function machineConfiguration(
  machine: unknown,
  options: Pick<DeviceOptions, 'memory' | 'completion'>,
): Configuration {
  const { iothreads, drives: described, devices } = parseMachine(machine);
  const iothreadIds = new Set<string>();
  for (const [index, { id }] of iothreads.entries()) {
    claim(iothreadIds, id, `iothreads[${index}].id`, 'iothread');
  }
  const drives = new MachineDrives(described);
  const deviceIds = new Set<string>();
  const configured = devices.map((device, index): DeviceOptions => {
    const path = `devices[${index}]`;
    claim(deviceIds, device.id, `${path}.id`, 'device');
    checkPlace(device, path, iothreadIds);
    checkSerial(device.serial, device.id, `${path}.serial`);
    return deviceOptions(device, drives.use(device.drive, `${path}.drive`), options);
  });
  drives.checkAllUsed();
  return { iothreads: iothreads.map(iothreadOptions), devices: configured };
}

/** @throws IOThreadError `ERR_CONFIG`, one line that names the place */
function parseMachine(machine: unknown): CheckedMachine {
  checkDepth(machine);
  const result = v.safeParse(machineSchema, machine);
  if (result.success) return result.output;
  // A misspelt option explains a missing one, not the other way round.
  const issue = result.issues.find(isUnknownOption) ?? result.issues[0];
  const path = (issue.path ?? []).map(({ key }) =>
    typeof key === 'number' ? `[${key}]` : `.${String(key)}`,
  );
  const where = path.join('').slice(1);
  const got = issue.message.startsWith('must be ') ? `, got ${describeValue(issue.input)}` : '';
  throw new IOThreadError('ERR_CONFIG', `${where === '' ? 'machine' : where}: ${issue.message}${got}`);
}

/** Not left to the schema: a literal may name itself, and would never come to an end. */
function checkDepth(machine: unknown): void {
  const { drives } = (machine ?? {}) as { readonly drives?: unknown };
  if (!Array.isArray(drives)) return;
  for (const [index, drive] of drives.entries()) {
    let inner: unknown = drive;
    for (let depth = 0; typeof inner === 'object' && inner !== null; depth++) {
      if (depth > MAX_NESTED_DRIVES) throw tooManyNested(`drives[${index}]`);
      inner = 'file' in inner ? inner.file : 'image' in inner ? inner.image : undefined;
    }
  }
}

/** Which iothreads serve it: those that there are, and each of its queues once. */
function checkPlace(device: CheckedDevice, path: string, iothreads: ReadonlySet<string>): void {
  const { iothread, 'iothread-vq-mapping': iothreadVqMapping, 'num-queues': numQueues } = device;
  const names = { iothreadVqMapping: 'iothread-vq-mapping', numQueues: 'num-queues' };
  resolveMapping({ iothread, iothreadVqMapping, numQueues }, path, iothreads, names);
}

function iothreadOptions(iothread: CheckedMachine['iothreads'][number]): IOThreadOptions {
  return {
    id: iothread.id,
    pollMaxNs: iothread['poll-max-ns'],
    pollGrow: iothread['poll-grow'],
    pollShrink: iothread['poll-shrink'],
  };
}

function deviceOptions(
  device: CheckedDevice,
  { drive, readOnly }: ResolvedDrive,
  { memory, completion = 'wake' }: Pick<DeviceOptions, 'memory' | 'completion'>,
): DeviceOptions {
  const { id, iothread, 'iothread-vq-mapping': iothreadVqMapping, serial } = device;
  return {
    id,
    ...(iothread === undefined ? {} : { iothread }),
    ...(iothreadVqMapping === undefined ? {} : { iothreadVqMapping }),
    drive,
    readOnly,
    memory,
    completion,
    numQueues: device['num-queues'],
    queueSize: device['queue-size'],
    ...(serial === undefined ? {} : { serial }),
    logicalBlockSize: device['logical-block-size'],
    ...(device.werror === 'auto' ? {} : { werror: device.werror }),
    ...(device.rerror === 'auto' ? {} : { rerror: device.rerror }),
  };
}
