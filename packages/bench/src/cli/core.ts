import {
  type BlockLimits,
  BlockRequest,
  Popped,
  RequestParser,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_IN,
  Virtqueue,
  writeStatus,
} from '@iothreads/core';
import { BlkDriver } from '@iothreads/core/testing';
import { parseArgs } from 'node:util';
import { createGuestMemory, layOut } from '../load/guest-layout.js';

const LIMITS: BlockLimits = {
  capacitySectors: 1 << 20,
  readOnly: false,
  discard: true,
  writeZeroes: true,
  serial: new Uint8Array(),
};
const BATCHES = [1, 4, 32, 64];
const REQUESTS_PER_ROUND = 400_000;
const ROUNDS = 9;

/** Nanoseconds a request that the device side takes, without a backend: pop, parse, complete, push, publish. */
function measure(batch: number, eventIdx: boolean): number {
  const { allocator, queues } = layOut(createGuestMemory(), 1);
  const driver = new BlkDriver(allocator, { addresses: queues[0]!, depth: batch, dataBytes: 4096, eventIdx });
  const queue = new Virtqueue(allocator.memory, queues[0]!, { indirect: true, eventIdx });
  const parser = new RequestParser(LIMITS);
  const request = new BlockRequest();
  const samples: number[] = [];
  for (let round = 0; round <= ROUNDS; round++) {
    let deviceMs = 0;
    const batches = Math.ceil(REQUESTS_PER_ROUND / batch);
    // The driver side is prepared outside the measured part, some batches' worth at a time would need a larger ring:
    // so the clock is read around the device side of every batch, and its own cost is taken off.
    for (let i = 0; i < batches; i++) {
      for (let slot = driver.takeSlot(); slot !== -1; slot = driver.takeSlot()) {
        driver.start(slot, VIRTIO_BLK_T_IN, (i * 8) & 0xfffff, 4096);
      }
      driver.publish();
      const before = performance.now();
      while (queue.pop(request) === Popped.CHAIN) {
        parser.parse(request, true);
        queue.push(request.head, writeStatus(request, VIRTIO_BLK_S_OK));
      }
      queue.publish();
      deviceMs += performance.now() - before;
      while (driver.takeDone() !== -1);
    }
    // The first round warms up.
    if (round > 0) samples.push((deviceMs * 1e6) / (batches * batch) - clockNs / batch);
  }
  samples.sort((a, b) => a - b);
  return samples[Math.floor(samples.length / 2)]!;
}

/** What a pair of clock readings adds to what lies between them. */
function measureClock(): number {
  const readings = 1_000_000;
  let sum = 0;
  for (let i = 0; i < readings; i++) {
    const before = performance.now();
    sum += performance.now() - before;
  }
  return (sum * 1e6) / readings;
}

const { values } = parseArgs({ options: { json: { type: 'boolean' } } });
measureClock();
const clockNs = measureClock();
const rows = BATCHES.flatMap((batch) =>
  [true, false].map((eventIdx) => ({
    batch,
    event_idx: eventIdx,
    ns_per_request: Math.round(measure(batch, eventIdx)),
  })),
);
if (values.json === true) {
  process.stdout.write(`${JSON.stringify(rows)}\n`);
} else {
  process.stdout.write(
    'device side of a 4 KiB read: pop, parse, complete, push, publish; median of 9 rounds\n\n',
  );
  process.stdout.write('batch   event-idx   ns a request\n');
  for (const { batch, event_idx: eventIdx, ns_per_request: ns } of rows) {
    process.stdout.write(
      `${String(batch).padStart(5)}   ${(eventIdx ? 'yes' : 'no').padEnd(9)}   ${String(ns).padStart(12)}\n`,
    );
  }
}
