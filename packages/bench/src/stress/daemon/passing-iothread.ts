import { setTimeout } from 'node:timers/promises';
import { type QmpClient, QmpError } from '../../daemon/qmp-client.js';
import type { Random } from '../random.js';
import { IOTHREADS, type Surroundings } from './stressed-disk.js';

const ID = 'passing';
/** Against hangs. */
const DEADLINE_MS = 120_000;

/** An iothread comes, serves some disks, whatever is being done to them meanwhile, and goes. */
export async function passIOThread(
  monitor: QmpClient,
  disks: readonly string[],
  random: Random,
  { report, diary }: Surroundings,
): Promise<void> {
  const move = async (disk: string, iothread: string): Promise<void> => {
    diary.note(`operator: move ${disk} to ${iothread}`);
    const moved = await tried(monitor, 'x-blockdev-set-iothread', { 'node-name': disk, iothread });
    if (moved) report.moved++;
  };
  diary.note('operator: add iothread');
  await monitor.execute('object-add', { 'qom-type': 'iothread', id: ID });
  for (const disk of disks) if (random.chance(0.5)) await move(disk, ID);
  await setTimeout(random.below(30));
  const beganMs = performance.now();
  // Disks that are paused stay until they are told to go on.
  while (!(await tried(monitor, 'object-del', { id: ID }))) {
    if (performance.now() - beganMs > DEADLINE_MS) throw new Error(`iothread '${ID}' can't be removed`);
    for (const disk of disks) {
      await tried(monitor, 'cont', { id: disk });
      await move(disk, random.pick(IOTHREADS));
    }
    await setTimeout(10);
  }
  diary.note('operator: iothread removed');
  report.iothreads++;
}

/** @returns false when it was refused: what it is about is paused, in use, or not there at the moment */
async function tried(monitor: QmpClient, command: string, args: object): Promise<boolean> {
  try {
    await monitor.execute(command, args);
    return true;
  } catch (error) {
    if (error instanceof QmpError) return false;
    throw error;
  }
}
