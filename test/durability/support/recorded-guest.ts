import { readWriteLog, WriteLog } from '@iothreads/backends';
import { IOThreadRuntime } from '@iothreads/iothread';
import { type DispatchMode, forceDispatch } from '@iothreads/iothread/testing';
import type { FileDriveOptions } from '@iothreads/backends';
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createMemory, Guest, type GuestQueue } from '../../support/guest.js';
import { generationOf } from '../../support/generations.js';
import { randomIntegers, seed } from '../../support/random.js';
import { within } from '../../support/within.js';
import { crashImages, THE_END } from './crash-images.js';
import { DurableLoad, type DurableQueue } from './durable-load.js';
import type { GuestHistory } from './guest-history.js';

const TASKS = 8;
const SECTORS_PER_TASK = 12;
export const SECTORS = TASKS * SECTORS_PER_TASK;
const WRITEBACK = 32;

/** What is recorded, and how. */
export interface Recording {
  readonly mode: DispatchMode;
  readonly writeThrough: boolean;
  /** Of the file below the record. */
  readonly file?: Omit<FileDriveOptions, 'driver' | 'filename'>;
  /** Iothreads that the queues are spread over; default 1. */
  readonly iothreads?: number;
  /** Requests of each of 8 tasks. */
  readonly requests: number;
  /** Another worker, that does something wrong. */
  readonly workerUrl?: URL;
}

/** A file of zeroes in a directory of its own. */
export function withImage<Result>(
  body: (filename: string, directory: string) => Promise<Result>,
): Promise<Result> {
  const directory = mkdtempSync(join(tmpdir(), 'iothreads-durability-'));
  const filename = join(directory, 'disk.img');
  const fd = openSync(filename, 'w');
  ftruncateSync(fd, SECTORS * 512);
  closeSync(fd);
  return body(filename, directory).finally(() => {
    rmSync(directory, { recursive: true });
  });
}

/** A load of a guest on iothreads of this process, whose file is recorded; then the power is cut at every point of it. */
export function cutEverywhere(
  recording: Recording,
): Promise<{ flushes: number; images: number; mistakes: string[] }> {
  return withImage(async (filename, directory) => {
    const log = new WriteLog(join(directory, 'log'));
    try {
      const load = await record(recording, filename, log);
      log.close();
      const checked = checkCuts(log.filename, load.history);
      // The record is what has happened to the file.
      const mistake = load.history.mistake(generationsOf(filename), THE_END, true);
      if (mistake !== undefined) throw new Error(`the file: ${mistake} (SEED=${seed})`);
      return { flushes: load.flushes, ...checked };
    } finally {
      log.close();
    }
  });
}

/** What is wrong after cuts at every point of a log; the first ten of it. */
export function checkCuts(log: string, history: GuestHistory): { images: number; mistakes: string[] } {
  const mistakes: string[] = [];
  const integer = randomIntegers(seed);
  let images = 0;
  for (const { cut, variant, generations } of crashImages([...readWriteLog(log)], SECTORS, 3, () =>
    integer(2),
  )) {
    images++;
    const mistake = history.mistake((sector) => generations[sector]!, cut);
    if (mistake !== undefined && mistakes.length < 10) mistakes.push(`${mistake}; ${variant} (SEED=${seed})`);
  }
  return { images, mistakes };
}

/** What a file holds, by sector. @throws Error when a sector is torn */
export function generationsOf(filename: string): (sector: number) => number {
  const bytes = readFileSync(filename);
  return (sector) => {
    const generation = generationOf(bytes, sector, sector);
    if (generation === undefined) throw new Error(`sector ${sector} is torn (SEED=${seed})`);
    return generation;
  };
}

export const makeLoad = (
  queues: readonly DurableQueue[],
  options: { readonly requests: number; readonly writeThrough: boolean; readonly position: () => number },
): DurableLoad => new DurableLoad(queues, { tasks: TASKS, sectorsPerTask: SECTORS_PER_TASK, ...options });

async function record(recording: Recording, filename: string, log: WriteLog): Promise<DurableLoad> {
  const { mode, writeThrough, file, iothreads: count = 1, requests, workerUrl } = recording;
  await using runtime = new IOThreadRuntime(workerUrl === undefined ? {} : { workerUrl });
  const iothreads = Array.from({ length: count }, (_, index) => `io${index}`);
  for (const id of iothreads) await runtime.addIOThread({ id });
  const memory = createMemory();
  const device = await runtime.addDevice({
    id: 'vda',
    drive: { driver: 'blklogwrites', file: { driver: 'file', filename, ...file }, log },
    memory,
    numQueues: count,
    iothreadVqMapping: iothreads.map((iothread) => ({ iothread })),
  });
  const guest = await Guest.start(device, memory);
  if (writeThrough) device.virtio.writeConfig(WRITEBACK, Uint8Array.of(0));
  await forceDispatch(runtime, 'vda', mode);
  const position = (): number => log.length;
  const load = makeLoad(guest.queues.map(durable), { requests, writeThrough, position });
  await within(load.run(), 'the load');
  return load;
}

const durable = (queue: GuestQueue): DurableQueue => ({
  request: async (type, sector, data) => (await queue.request(type, sector, data)).status,
});
