import { SECTOR_SIZE } from '@iothreads/core';
import * as v from 'valibot';
import { BlockDriverError } from './block-driver.js';

/** Whether `value` can be a disk's size: bytes, a positive multiple of 512 that is exact as a number. */
export function isDiskSize(value: unknown): boolean {
  return Number.isSafeInteger(value) && (value as number) > 0 && (value as number) % SECTOR_SIZE === 0;
}

/** @throws BlockDriverError `ERR_DRIVE_SIZE` when `sizeBytes` can't be the size of the disk of that name */
export function checkDiskSize(name: string, sizeBytes: number): void {
  if (isDiskSize(sizeBytes)) return;
  throw new BlockDriverError(
    'ERR_DRIVE_SIZE',
    `${name}: its size must be a positive multiple of 512 (bytes), got ${describeValue(sizeBytes)}`,
  );
}

/** An option that is a disk's size in bytes. */
export const diskSizeSchema = v.custom<number>(isDiskSize, 'must be a positive multiple of 512 (bytes)');

/** Whether `value` is an object with fields: neither null nor an array. */
export function isPlainObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** `value` in a few characters, for error messages: what it is when it is short, of which kind it is otherwise. */
export function describeValue(value: unknown): string {
  switch (typeof value) {
    case 'string':
      return JSON.stringify(value.length > 100 ? `${value.slice(0, 100)}…` : value);
    case 'number':
    case 'boolean':
    case 'undefined':
      return String(value);
    case 'bigint':
      return `${value}n`;
    case 'object':
      if (value === null) return 'null';
      return Array.isArray(value) ? 'an array' : 'an object';
    default:
      return `a ${typeof value}`;
  }
}

/**
 * Checks a driver's options against its schema; the first mistake is reported in one line.
 *
 * @param path prefix of the field in messages
 * @throws BlockDriverError `ERR_DRIVE_OPTION`, naming the field
 */
export function parseOptions<const Entries extends v.ObjectEntries>(
  entries: Entries,
  driver: string,
  options: unknown,
  path: string,
): v.InferOutput<v.StrictObjectSchema<Entries, undefined>> {
  if (!isPlainObject(options)) {
    throw new BlockDriverError(
      'ERR_DRIVE_OPTION',
      `${path}: options of driver "${driver}" must be an object, got ${describeValue(options)}`,
    );
  }
  // Before anything else: a misspelt field explains a missing one, not the other way round.
  for (const key of Object.keys(options)) {
    if (Object.hasOwn(entries, key)) continue;
    throw new BlockDriverError(
      'ERR_DRIVE_OPTION',
      `${path}.${key}: unknown option of driver "${driver}" (known: ${Object.keys(entries).join(', ')})`,
    );
  }
  const result = v.safeParse(v.strictObject(entries), options, { abortEarly: true });
  if (result.success) return result.output;
  const issue = result.issues[0];
  const key = v.getDotPath(issue) ?? '';
  const message = Object.hasOwn(options, key)
    ? `${issue.message}, got ${describeValue(options[key])}`
    : `required by driver "${driver}"`;
  throw new BlockDriverError('ERR_DRIVE_OPTION', `${path}.${key}: ${message}`);
}
