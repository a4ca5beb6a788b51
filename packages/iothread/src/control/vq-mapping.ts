import { IOThreadError } from '../iothread-error.js';

/** Which iothread serves which queues of a device. */
export interface VqMappingOptions {
  readonly iothread: string;
  /** Queue indexes; left out in all entries, queues are dealt out in turn. */
  readonly vqs?: readonly number[] | undefined;
}

/** Which queues of a device each iothread serves. Every queue once; no iothread without a queue. */
export type VqMapping = ReadonlyMap<string, readonly number[]>;

/** What a mapping's options are called where they are written: messages name them. */
interface MappingNames {
  readonly iothreadVqMapping: string;
  readonly numQueues: string;
}

const CAMEL_CASE: MappingNames = { iothreadVqMapping: 'iothreadVqMapping', numQueues: 'numQueues' };

/**
 * Turns `iothread` or `iothreadVqMapping` into a mapping.
 * @throws IOThreadError naming the field, which is below `path`
 */
export function resolveMapping(
  device: {
    readonly iothread: string | undefined;
    readonly iothreadVqMapping: readonly VqMappingOptions[] | undefined;
    readonly numQueues: number;
  },
  path: string,
  iothreads: ReadonlySet<string>,
  names = CAMEL_CASE,
): VqMapping {
  const { iothread, iothreadVqMapping: entries, numQueues } = device;
  if ((iothread === undefined) === (entries === undefined)) {
    throw new IOThreadError('ERR_CONFIG', `${path}: give either iothread or ${names.iothreadVqMapping}`);
  }
  const known = (id: string, field: string): void => {
    if (!iothreads.has(id))
      throw new IOThreadError('ERR_UNKNOWN_IOTHREAD', `${field}: there is no iothread '${id}'`);
  };
  if (iothread !== undefined) {
    known(iothread, `${path}.iothread`);
    return new Map([[iothread, allQueues(numQueues)]]);
  }
  const field = `${path}.${names.iothreadVqMapping}`;
  const mapping = new Map<string, number[]>();
  for (const [index, entry] of entries!.entries()) {
    known(entry.iothread, `${field}[${index}].iothread`);
    if (mapping.has(entry.iothread)) {
      throw new IOThreadError(
        'ERR_CONFIG',
        `${field}[${index}].iothread: '${entry.iothread}' is named twice`,
      );
    }
    mapping.set(entry.iothread, []);
  }
  const listed = entries!.filter((entry) => entry.vqs !== undefined).length;
  if (listed === 0) dealOut(mapping, numQueues, field);
  else if (listed < entries!.length) {
    throw new IOThreadError('ERR_CONFIG', `${field}: give vqs in every entry or in none`);
  } else assign(mapping, entries!, numQueues, field, names);
  return mapping;
}

export const allQueues = (numQueues: number): number[] =>
  Array.from({ length: numQueues }, (_, index) => index);

function dealOut(mapping: Map<string, number[]>, numQueues: number, field: string): void {
  const shares = [...mapping.values()];
  if (shares.length > numQueues) {
    throw new IOThreadError(
      'ERR_CONFIG',
      `${field}: ${shares.length} iothreads for only ${numQueues} queues`,
    );
  }
  for (const queue of allQueues(numQueues)) shares[queue % shares.length]!.push(queue);
}

function assign(
  mapping: Map<string, number[]>,
  entries: readonly VqMappingOptions[],
  numQueues: number,
  field: string,
  names: MappingNames,
): void {
  const taken = new Set<number>();
  for (const [index, { iothread, vqs }] of entries.entries()) {
    const here = `${field}[${index}].vqs`;
    if (vqs!.length === 0) throw new IOThreadError('ERR_CONFIG', `${here}: names no queue`);
    for (const queue of vqs!) {
      if (queue >= numQueues) {
        throw new IOThreadError(
          'ERR_CONFIG',
          `${here}: there is no queue ${queue}, ${names.numQueues} is ${numQueues}`,
        );
      }
      if (taken.has(queue)) throw new IOThreadError('ERR_CONFIG', `${here}: queue ${queue} is mapped twice`);
      taken.add(queue);
      mapping.get(iothread)!.push(queue);
    }
  }
  const missing = allQueues(numQueues).find((queue) => !taken.has(queue));
  if (missing !== undefined)
    throw new IOThreadError('ERR_CONFIG', `${field}: queue ${missing} is not mapped`);
}
