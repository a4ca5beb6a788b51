// What is promised in docs/limits.md is what the code says.
import { IOThreadRuntime } from '@iothreads/iothread';
import { DriverQueue, startDevice } from '@iothreads/core/testing';
import { GuestMemory, VIRTIO_BLK_T_IN } from '@iothreads/core';
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import * as faultLimits from '../packages/backends/dist/blkdebug/fault-limits.js';
import * as fileTransfer from '../packages/backends/dist/file/file-transfer.js';
import * as bouncePool from '../packages/backends/dist/file/linux/bounce-pool.js';
import * as threadRing from '../packages/backends/dist/file/linux/thread-ring.js';
import * as moduleDriver from '../packages/backends/dist/module/module-driver.js';
import * as nestedDrives from '../packages/backends/dist/nested-drives.js';
import * as blockLimits from '../packages/core/dist/virtio-blk/block-limits.js';
import * as chain from '../packages/core/dist/virtqueue/descriptor-chain.js';
import * as splitRing from '../packages/core/dist/virtqueue/split-ring.js';
import * as configuration from '../packages/iothread/dist/control/configuration-limits.js';
import * as restartLimit from '../packages/iothread/dist/control/restart-limit.js';
import * as wakeSlots from '../packages/iothread/dist/shared/wake-slots.js';
import * as attachedDevice from '../packages/iothread/dist/worker/attached-device.js';
import * as driverErrors from '../packages/iothread/dist/worker/driver-error-reports.js';
import * as unixSocket from '../packages/linux/dist/unix-socket.js';
import * as blockGraph from '../packages/storage-daemon/dist/block-graph.js';
import * as chardevs from '../packages/storage-daemon/dist/chardev/chardevs.js';
import * as clientLine from '../packages/storage-daemon/dist/chardev/client-line.js';
import * as exports from '../packages/storage-daemon/dist/exports.js';
import * as log from '../packages/storage-daemon/dist/log.js';
import * as exportOptions from '../packages/storage-daemon/dist/options/export-options.js';
import * as jsonText from '../packages/storage-daemon/dist/options/json-text.js';
import * as keyval from '../packages/storage-daemon/dist/options/keyval.js';
import * as scalars from '../packages/storage-daemon/dist/options/scalars.js';
import * as statistics from '../packages/storage-daemon/dist/qmp/commands/statistics-commands.js';
import * as jsonStream from '../packages/storage-daemon/dist/qmp/json-stream.js';
import * as qmpSession from '../packages/storage-daemon/dist/qmp/qmp-session.js';
import * as backOff from '../packages/storage-daemon/dist/supervise/back-off.js';
import * as restarts from '../packages/storage-daemon/dist/supervise/restarts.js';
import * as connection from '../packages/vhost-user/dist/connection.js';
import * as exportLog from '../packages/vhost-user/dist/export-log.js';
import * as memoryTable from '../packages/vhost-user/dist/memory-table.js';
import * as configPayload from '../packages/vhost-user/dist/protocol/config-payload.js';
import * as memoryPayloads from '../packages/vhost-user/dist/protocol/memory-payloads.js';
import * as messageHeader from '../packages/vhost-user/dist/protocol/message-header.js';
import * as vhostUserExport from '../packages/vhost-user/dist/vhost-user-blk-export.js';
import { allocatorOf } from './support/guest.js';
import { Gate } from './support/gate.js';
import { until } from './support/within.js';

/** By their names in the table. */
const constants: Readonly<Record<string, number>> = {
  MAX_QUEUE_SIZE: splitRing.MAX_QUEUE_SIZE,
  MAX_QUEUES: configuration.MAX_QUEUES,
  DEFAULT_NUM_QUEUES: vhostUserExport.DEFAULT_NUM_QUEUES,
  MAX_CHAIN_DESCRIPTORS: chain.MAX_CHAIN_DESCRIPTORS,
  MAX_TRANSFER_BYTES: blockLimits.MAX_TRANSFER_BYTES,
  MAX_RANGES: blockLimits.MAX_RANGES,
  MAX_RANGE_SECTORS: blockLimits.MAX_RANGE_SECTORS,
  MAX_IN_FLIGHT: attachedDevice.MAX_IN_FLIGHT,
  BATCH: attachedDevice.BATCH,
  MAX_UNDER_WAY: threadRing.MAX_UNDER_WAY,
  MAX_TRANSFERS: fileTransfer.MAX_TRANSFERS,
  BUDGET_BYTES: bouncePool.BUDGET_BYTES,
  MAX_BUFFERED_BYTES: moduleDriver.MAX_BUFFERED_BYTES,
  CHUNK_BYTES: moduleDriver.CHUNK_BYTES,
  REPORTS_PER_SECOND: driverErrors.REPORTS_PER_SECOND,
  LINES_PER_SECOND: log.LINES_PER_SECOND,
  MAX_RESTARTS: restartLimit.MAX_RESTARTS,
  DEFAULT_BACKLOG: unixSocket.DEFAULT_BACKLOG,
  MAX_PAYLOAD_BYTES: messageHeader.MAX_PAYLOAD_BYTES,
  MAX_TABLE_REGIONS: memoryPayloads.MAX_TABLE_REGIONS,
  MAX_MEM_SLOTS: memoryTable.MAX_MEM_SLOTS,
  MAX_CONFIG_BYTES: configPayload.MAX_CONFIG_BYTES,
  TURN: connection.TURN,
  LINES: exportLog.LINES,
  MAX_WAITING: clientLine.MAX_WAITING,
  MAX_MESSAGE_LENGTH: jsonStream.MAX_MESSAGE_LENGTH,
  MAX_JSON_DEPTH: jsonText.MAX_JSON_DEPTH,
  MAX_KEY_PARTS: keyval.MAX_KEY_PARTS,
  MAX_UNREAD: qmpSession.MAX_UNREAD,
  MAX_NODES: blockGraph.MAX_NODES,
  MAX_NESTED_DRIVES: nestedDrives.MAX_NESTED_DRIVES,
  MAX_FAULT_RULES: faultLimits.MAX_FAULT_RULES,
  MAX_EXPORTS: exports.MAX_EXPORTS,
  MAX_IOTHREADS: wakeSlots.MAX_IOTHREADS,
  MAX_CHARDEVS: chardevs.MAX_CHARDEVS,
  MAX_ID_LENGTH: scalars.MAX_ID_LENGTH,
  MAX_BOUNDARIES: statistics.MAX_BOUNDARIES,
  MAX_LINE_LENGTH: log.MAX_LINE_LENGTH,
  MAX_RECENT: restarts.MAX_RECENT,
  LONGEST_PAUSE_MS: backOff.LONGEST_PAUSE_MS,
};

const MIB = 1 << 20;

test('the limits in the documentation are those of the code, all of them', () => {
  const text = readFileSync(new URL('../docs/limits.md', import.meta.url), 'utf8');
  const named = new Set<string>();
  for (const [line, value, unit, name] of text.matchAll(
    /^\|[^|]*\|\s*(\d+)( MiB)?\s*\|[^|]*\|\s*`(\w+)`\s*\|$/gm,
  )) {
    expect(Number(value) * (unit === undefined ? 1 : MIB), line).toBe(constants[name!]);
    named.add(name!);
  }
  expect([...named].toSorted()).toEqual(Object.keys(constants).toSorted());
  // Said twice, in packages that don't know of each other.
  expect(exportOptions.MAX_QUEUES).toBe(configuration.MAX_QUEUES);
  expect(exportLog.PERIOD_MS).toBe(1000);
});

test('a ring with room for many more requests has 4096 in flight, the others wait, and all are done', async () => {
  const { MAX_IN_FLIGHT } = attachedDevice;
  const count = MAX_IN_FLIGHT + 500;
  await using runtime = new IOThreadRuntime();
  await runtime.addIOThread({ id: 'io0' });
  const gate = new Gate();
  const memory = new SharedArrayBuffer(4 * MIB);
  const device = await runtime.addDevice({
    id: 'vda',
    iothread: 'io0',
    drive: gate.drive(),
    memory,
    queueSize: 16384,
  });
  const allocator = allocatorOf(memory);
  const addresses = allocator.allocateQueue(16384);
  const header = allocator.allocate(16, 16);
  const data = allocator.allocate(513);
  allocator.view(header, 16).setUint32(0, VIRTIO_BLK_T_IN, true);
  startDevice(device.virtio, [addresses], device.virtio.offeredFeatures);
  await device.settled();
  const driver = new DriverQueue(new GuestMemory([{ guestAddress: 0, buffer: memory }]), addresses, {
    eventIdx: true,
  });
  // All into the same buffer: what they bring is no matter.
  for (let i = 0; i < count; i++) {
    driver.add([
      { address: header, byteLength: 16, writable: false },
      { address: data, byteLength: 513, writable: true },
    ]);
  }
  if (driver.publish()) device.channel.kick(0);
  await gate.came(MAX_IN_FLIGHT);
  // Whatever else it does, it takes no more.
  for (let i = 0; i < 20; i++) await runtime.queryIOThreads();
  expect(gate.arrived).toBe(MAX_IN_FLIGHT);
  gate.open();
  let done = 0;
  await until(
    'all completions',
    () => {
      while (driver.takeUsed() !== -1) done++;
      return done === count;
    },
    () => `${done} of ${count}`,
  );
  await runtime.removeDevice('vda');
});
