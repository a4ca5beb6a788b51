import {
  CONFIG_INTERRUPT,
  featureSet,
  VIRTIO_F_VERSION_1,
  VIRTIO_STATUS_ACKNOWLEDGE,
  VIRTIO_STATUS_DRIVER_OK,
  VIRTIO_STATUS_FAILED,
  VIRTIO_STATUS_FEATURES_OK,
  VIRTIO_STATUS_NEEDS_RESET,
} from '@iothreads/core';
import { describe, expect, test } from 'vitest';
import { type Machine, TRANSPORTS } from './support/register-machines.js';
import { CAPACITY_SECTORS, QUEUE_SIZE, RegisterRig } from './support/register-rig.js';
import { ACKNOWLEDGED, expectUsable, NEGOTIATED, negotiate, RUNNING } from './support/register-steps.js';
import { StartedDevice } from './support/started-device.js';

const BROKEN = RUNNING | VIRTIO_STATUS_NEEDS_RESET;

/** What a driver must not do, and what the device makes of it. After each, a reset makes it usable. */
const VIOLATIONS: readonly (readonly [what: string, commit: (machine: Machine) => void])[] = [
  [
    'DRIVER_OK at once',
    ({ driver }) => {
      driver.status = RUNNING;
      expect(driver.status & VIRTIO_STATUS_DRIVER_OK).toBe(0);
    },
  ],
  [
    'FEATURES_OK before DRIVER',
    ({ driver }) => {
      driver.status = VIRTIO_STATUS_ACKNOWLEDGE | VIRTIO_STATUS_FEATURES_OK;
      expect(driver.status).toBe(VIRTIO_STATUS_ACKNOWLEDGE);
    },
  ],
  [
    'features before DRIVER',
    ({ rig, driver }) => {
      driver.writeFeatures(driver.offeredFeatures);
      expect(rig.virtio.driverFeatures).toBe(0n);
    },
  ],
  [
    'features that were not offered',
    ({ driver }) => {
      driver.status = ACKNOWLEDGED;
      driver.writeFeatures(driver.offeredFeatures | (1n << 63n));
      driver.status = NEGOTIATED;
      expect(driver.status).toBe(ACKNOWLEDGED);
    },
  ],
  [
    'no VERSION_1',
    ({ driver }) => {
      driver.status = ACKNOWLEDGED;
      driver.writeFeatures(driver.offeredFeatures & ~featureSet(VIRTIO_F_VERSION_1));
      driver.status = NEGOTIATED;
      expect(driver.status).toBe(ACKNOWLEDGED);
    },
  ],
  [
    'features after FEATURES_OK',
    (machine) => {
      negotiate(machine);
      machine.driver.writeFeatures(0n);
      expect(machine.rig.virtio.driverFeatures).toBe(machine.rig.virtio.offeredFeatures);
    },
  ],
  [
    'a queue that is not there',
    (machine) => {
      const { rig, driver } = machine;
      negotiate(machine);
      for (const index of [2, 0xffff]) {
        expect(driver.queueSizeMax(index)).toBe(0);
        // The PCI driver looks at the vector that it has mapped.
        expectRefused(() => {
          driver.setUpQueue(index, rig.allocator.allocateQueue(8));
        });
        expect(driver.isQueueEnabled(index)).toBe(false);
      }
    },
  ],
  [
    'a queue before FEATURES_OK',
    ({ rig, driver }) => {
      driver.status = ACKNOWLEDGED;
      driver.setUpQueue(0, rig.allocator.allocateQueue(8));
      expect(driver.isQueueEnabled(0)).toBe(false);
    },
  ],
  [
    'a queue that is set up anew while it is enabled',
    (machine) => {
      const { rig, driver } = machine;
      negotiate(machine);
      const [first, second] = [rig.allocator.allocateQueue(16), rig.allocator.allocateQueue(8)];
      driver.setUpQueue(0, first);
      const before = machine.transport.saveState().queues;
      driver.setUpQueue(0, second);
      expect(machine.transport.saveState().queues).toEqual(before);
      expect(driver.isQueueEnabled(0)).toBe(true);
    },
  ],
  [
    'another queue once the device runs',
    (machine) => {
      const { rig, driver } = machine;
      negotiate(machine);
      driver.status = RUNNING;
      // It is refused for its place alone.
      driver.setUpQueue(0, { ...rig.allocator.allocateQueue(8), usedRing: 2 });
      expect(driver.isQueueEnabled(0)).toBe(false);
      expect(driver.status).toBe(RUNNING);
    },
  ],
  [
    'doorbells before DRIVER_OK',
    (machine) => {
      const { rig, driver, line } = machine;
      driver.kick(0);
      negotiate(machine);
      driver.setUpQueue(0, rig.allocator.allocateQueue(8));
      driver.kick(0);
      rig.interrupt(0);
      rig.deliver();
      expect(line.level).toBe(false);
      expect(machine.messages).toEqual([]);
    },
  ],
  [
    'a change of the configuration that nobody waits for',
    (machine) => {
      machine.rig.resize(5);
      machine.rig.deliver();
      expect(machine.line.level).toBe(false);
      expect(machine.driver.capacitySectors).toBe(5);
    },
  ],
  [
    'status bits that are taken back',
    (machine) => {
      void new StartedDevice(machine.rig, machine.driver);
      machine.driver.status = VIRTIO_STATUS_ACKNOWLEDGE;
      expect(machine.driver.status).toBe(RUNNING);
    },
  ],
  [
    'status bits that are the device’s own or nobody’s',
    ({ driver }) => {
      driver.status = VIRTIO_STATUS_NEEDS_RESET | 0x30 | VIRTIO_STATUS_ACKNOWLEDGE;
      expect(driver.status).toBe(VIRTIO_STATUS_ACKNOWLEDGE);
    },
  ],
  [
    'a driver that gives up',
    ({ driver }) => {
      driver.status = ACKNOWLEDGED | VIRTIO_STATUS_FAILED;
      expect(driver.status).toBe(ACKNOWLEDGED | VIRTIO_STATUS_FAILED);
    },
  ],
  [
    'a ring that breaks the rules',
    (machine) => {
      const { rig, driver } = machine;
      const started = new StartedDevice(rig, driver);
      const { availRing } = started.queues[0]!;
      rig.allocator.view(availRing, 4).setUint16(2, 1000, true);
      driver.kick(0);
      expect(driver.status).toBe(BROKEN);
      rig.interrupt(CONFIG_INTERRUPT);
      rig.deliver();
      machine.hear(CONFIG_INTERRUPT);
    },
  ],
  ...(
    [
      ['a queue of no descriptors', { size: 0 }],
      ['a queue of 3 descriptors', { size: 3 }],
      ['a queue larger than the device allows', { size: 2 * QUEUE_SIZE }],
      ['a misaligned descriptor table', { descriptorTable: 0x1_0008 }],
      ['a misaligned used ring', { usedRing: 0x1_0002 }],
      ['a descriptor table beyond memory', { descriptorTable: 0x11_0000 }],
      ['an avail ring at 2^53', { availRing: 2 ** 53 }],
      ['an avail ring that a number almost holds', { availRing: 2 ** 53 - 2 }],
      ['a descriptor table at 2^63', { descriptorTable: 2 ** 63 }],
      ['a used ring at the end of the address space', { usedRing: 2 ** 64 - 2048 }],
    ] as const
  ).map(
    ([what, change]) =>
      [
        what,
        (machine: Machine) => {
          const { rig, driver } = machine;
          negotiate(machine);
          driver.setUpQueue(0, { ...rig.allocator.allocateQueue(8), ...change });
          driver.status = RUNNING;
          expect(driver.status).toBe(BROKEN);
          rig.deliver();
          expectConfigInterrupt(machine);
        },
      ] as const,
  ),
];

/** The driver has not mapped the configuration's interrupt to a vector where it gave up its initialisation half-way. */
function expectConfigInterrupt(machine: Machine): void {
  expect(machine.messages).toEqual([]);
  expect(machine.driver.acknowledgeInterrupt()).toEqual({ queue: false, config: true });
  expect(machine.line.level).toBe(false);
}

function expectRefused(step: () => void): void {
  try {
    step();
  } catch (error) {
    expect((error as Error).message).toMatch(/refused vector/);
  }
}

describe.each(TRANSPORTS)('%s survives', (_, make) => {
  test.each(VIOLATIONS)('%s', (__, commit) => {
    const rig = new RegisterRig(2);
    const machine = make(rig);
    commit(machine);
    machine.driver.reset();
    expect(machine.line.level).toBe(false);
    machine.messages.length = 0;
    rig.resize(CAPACITY_SECTORS);
    rig.deliver();
    expectUsable(machine);
  });
});
