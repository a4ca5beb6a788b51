import { parseArgs } from 'node:util';
import { measureBounceSide } from '../core/bounce-side.js';
import { measureDeviceSide } from '../core/device-side.js';
import { ROUNDS } from '../core/rounds.js';

const BATCHES = [1, 4, 32, 64];

const { values } = parseArgs({ options: { json: { type: 'boolean' } } });
const device = BATCHES.flatMap((batch) =>
  [
    [true, false],
    [false, false],
    [true, true],
  ].map(([eventIdx = false, tracked = false]) => ({
    batch,
    event_idx: eventIdx,
    tracked,
    ns_per_request: Math.round(measureDeviceSide(batch, eventIdx, tracked)),
  })),
);
const bounce = BATCHES.flatMap((batch) =>
  [false, true].map((write) => ({
    batch,
    operation: write ? 'write' : 'read',
    ns_per_request: Math.round(measureBounceSide(batch, write)),
  })),
);
if (values.json === true) {
  process.stdout.write(`${JSON.stringify({ device, bounce })}\n`);
} else {
  const line = (batch: number | string, what: string, ns: number | string): string =>
    `${String(batch).padStart(5)}   ${what.padEnd(19)}   ${String(ns).padStart(12)}\n`;
  process.stdout.write(
    `device side of a 4 KiB read: pop, parse, complete, push, publish; median of ${ROUNDS} rounds\n\n`,
  );
  process.stdout.write(line('batch', 'ring', 'ns a request'));
  for (const { batch, event_idx: eventIdx, tracked, ns_per_request: ns } of device) {
    process.stdout.write(line(batch, `${eventIdx ? 'event-idx' : 'plain'}${tracked ? ', tracked' : ''}`, ns));
  }
  process.stdout.write(
    "\nwhat bouncing a 4 KiB request adds on the emulator's thread: copied to a slot and back\n\n",
  );
  process.stdout.write(line('batch', 'request', 'ns a request'));
  for (const { batch, operation, ns_per_request: ns } of bounce)
    process.stdout.write(line(batch, operation, ns));
}
