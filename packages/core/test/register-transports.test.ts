import {
  CONFIG_INTERRUPT,
  featureSet,
  VIRTIO_BLK_F_CONFIG_WCE,
  VIRTIO_BLK_T_OUT,
  VIRTIO_F_VERSION_1,
  VIRTIO_STATUS_ACKNOWLEDGE,
  VirtioMmio,
} from '@iothreads/core';
import { describe, expect, test } from 'vitest';
import { TRANSPORTS } from './support/register-machines.js';
import { CAPACITY_SECTORS, QUEUE_SIZE, RegisterRig } from './support/register-rig.js';
import { expectUsable, negotiate, RUNNING } from './support/register-steps.js';
import { StartedDevice } from './support/started-device.js';

describe.each(TRANSPORTS)('%s', (_, make) => {
  test('starts a device of many queues, and each serves requests with an interrupt for each', () => {
    const rig = new RegisterRig(5);
    const machine = make(rig);
    expect(machine.driver.isReset).toBe(true);
    expectUsable(machine);
    expect(rig.virtio.driverFeatures).toBe(rig.virtio.offeredFeatures);
    expect(rig.kicks).toEqual([0, 0, 1, 1, 2, 2, 3, 3, 4, 4]);
  });

  test('settles for the features that the driver wants', () => {
    const rig = new RegisterRig();
    const machine = make(rig);
    const started = new StartedDevice(rig, machine.driver, featureSet(VIRTIO_F_VERSION_1));
    expect(rig.virtio.driverFeatures).toBe(featureSet(VIRTIO_F_VERSION_1));
    started.roundTrip(0, 5, () => {
      machine.hear(0);
    });
  });

  test('interrupts once for what comes before it was heard', () => {
    const rig = new RegisterRig(2);
    const machine = make(rig);
    const started = new StartedDevice(rig, machine.driver);
    started.submit(1, VIRTIO_BLK_T_OUT, 0);
    rig.deliver();
    const { raised } = machine.line;
    rig.interrupt(1);
    rig.deliver();
    expect(machine.line.raised).toBe(raised);
    if (machine.messages.length > 0) machine.messages.pop();
    machine.hear(1);
  });

  test('shows a change of the configuration and interrupts for it', () => {
    const rig = new RegisterRig();
    const machine = make(rig);
    const { driver } = machine;
    void new StartedDevice(rig, driver);
    expect(driver.capacitySectors).toBe(CAPACITY_SECTORS);
    const generation = driver.configGeneration;
    expect(driver.configGeneration).toBe(generation);
    rig.resize(2 ** 40 + 3);
    rig.deliver();
    machine.hear(CONFIG_INTERRUPT);
    expect(driver.configGeneration).not.toBe(generation);
    expect(driver.capacitySectors).toBe(2 ** 40 + 3);
  });

  test('shows a driver that it has read half of a change', () => {
    const rig = new RegisterRig();
    const { driver } = make(rig);
    void new StartedDevice(rig, driver);
    rig.resize(1);
    const read = driver.readConfig.bind(driver);
    let reads = 0;
    driver.readConfig = (offset, width) => {
      if (++reads === 2) rig.resize(2 ** 33);
      return read(offset, width);
    };
    expect(driver.capacitySectors).toBe(2 ** 33);
    expect(reads).toBe(4);
  });

  test('reads the configuration at every width, and 0 beyond it', () => {
    const rig = new RegisterRig(3);
    const { driver } = make(rig);
    const fields = [
      [0, 4, CAPACITY_SECTORS],
      [0, 1, CAPACITY_SECTORS],
      [4, 4, 0],
      [12, 4, QUEUE_SIZE - 2],
      [20, 4, 512],
      [34, 2, 3],
      // Unaligned, across fields: the upper half of blk_size, physical_block_exp and alignment_offset.
      [22, 4, 0x0003_0000],
      [60, 4, 0],
    ] as const;
    for (const [offset, width, value] of fields) expect(driver.readConfig(offset, width)).toBe(value);
  });

  test('lets a driver switch the cache and change nothing else', () => {
    const rig = new RegisterRig();
    const { driver } = make(rig);
    void new StartedDevice(rig, driver);
    expect(rig.virtio.config.writeback).toBe(true);
    for (let offset = 0; offset < 64; offset += 4) driver.writeConfig(offset, 4, 0xfefe_fefe);
    expect(rig.virtio.config.writeback).toBe(false);
    expect(driver.capacitySectors).toBe(CAPACITY_SECTORS);
    driver.writeConfig(32, 1, 1);
    expect(rig.virtio.config.writeback).toBe(true);
    driver.reset();
    void new StartedDevice(rig, driver, rig.virtio.offeredFeatures & ~featureSet(VIRTIO_BLK_F_CONFIG_WCE));
    driver.writeConfig(32, 1, 0);
    expect(rig.virtio.config.writeback).toBe(true);
  });

  test('resets: nothing is pending or enabled any more, what was selected is forgotten', () => {
    const rig = new RegisterRig(2);
    const machine = make(rig);
    const { driver } = machine;
    const started = new StartedDevice(rig, driver);
    started.submit(0, VIRTIO_BLK_T_OUT, 0);
    rig.resize(4);
    rig.deliver();
    machine.messages.length = 0;
    driver.reset();
    expect(driver.isReset).toBe(true);
    expect(machine.line.level).toBe(false);
    expect(driver.acknowledgeInterrupt()).toEqual({ queue: false, config: false });
    expect(driver.isQueueEnabled(0)).toBe(false);
    expect(driver.queueSizeMax(0)).toBe(QUEUE_SIZE);
    const { deviceFeaturesSelect, driverFeaturesSelect } = machine.transport.saveState();
    expect([deviceFeaturesSelect, driverFeaturesSelect]).toEqual([0, 0]);
    expectUsable(machine);
  });

  test('a reset that takes its time: the status shows it, no interrupt comes late, nothing can be started', () => {
    const rig = new RegisterRig();
    const machine = make(rig);
    const { driver } = machine;
    const started = new StartedDevice(rig, driver);
    rig.holdReset = true;
    started.submit(0, VIRTIO_BLK_T_OUT, 0);
    driver.reset();
    rig.interrupt(CONFIG_INTERRUPT);
    rig.deliver();
    expect(machine.line.level).toBe(false);
    expect(machine.messages).toEqual([]);
    driver.status = VIRTIO_STATUS_ACKNOWLEDGE;
    driver.reset();
    expect(driver.isReset).toBe(false);
    expect(() => {
      driver.start([]);
    }).toThrow('has not been reset');
    rig.finishReset();
    expect(driver.isReset).toBe(true);
    rig.interrupt(0);
    rig.deliver();
    expect(machine.line.level).toBe(false);
    expect(machine.messages).toEqual([]);
    rig.holdReset = false;
    expectUsable(machine);
  });

  test('a driver that does not look whether the reset is complete hears of its interrupts all the same', () => {
    const rig = new RegisterRig();
    const machine = make(rig);
    const { driver } = machine;
    void new StartedDevice(rig, driver);
    rig.holdReset = true;
    driver.reset();
    rig.finishReset();
    const [queue] = rig.allocateQueues();
    negotiate(machine);
    driver.setUpQueue(0, queue!);
    driver.status = RUNNING;
    rig.interrupt(0);
    rig.deliver();
    machine.hear(0);
  });

  test('the machine’s own reset is one as well', () => {
    const rig = new RegisterRig();
    const machine = make(rig);
    const started = new StartedDevice(rig, machine.driver);
    started.submit(0, VIRTIO_BLK_T_OUT, 0);
    rig.deliver();
    machine.messages.length = 0;
    machine.transport.reset();
    expect(machine.line.level).toBe(false);
    expect(rig.virtio.status).toBe(0);
    machine.probeAgain();
    expectUsable(machine);
  });

  test('once closed, the line is low and no interrupt is heard', () => {
    const rig = new RegisterRig();
    const machine = make(rig);
    void new StartedDevice(rig, machine.driver);
    rig.interrupt(CONFIG_INTERRUPT);
    rig.deliver();
    machine.messages.length = 0;
    expect(rig.listeners).toBe(1);
    machine.transport.close();
    expect(rig.listeners).toBe(0);
    expect(machine.line.level).toBe(false);
    rig.interrupt(0);
    rig.deliver();
    expect(machine.messages).toEqual([]);
    machine.transport.close();
  });

  test('goes on from a state that was saved, with its interrupt still to be heard', () => {
    const rig = new RegisterRig(2);
    const first = make(rig);
    const started = new StartedDevice(rig, first.driver);
    started.submit(1, VIRTIO_BLK_T_OUT, 0);
    rig.resize(7);
    rig.deliver();
    const state: unknown = JSON.parse(JSON.stringify(first.transport.saveState()));
    const { level } = first.line;
    first.transport.close();
    const second = make(rig);
    expect(second.line.level).toBe(false);
    second.transport.restoreState(state);
    expect(second.transport.saveState()).toEqual(state);
    expect(second.line.level).toBe(level);
    if (level) {
      expect(second.driver.acknowledgeInterrupt()).toEqual({ queue: true, config: true });
      expect(second.line.level).toBe(false);
    }
    // Restored again, it interrupts again; restored to the beginning, it is quiet.
    second.transport.restoreState(state);
    expect(second.line.level).toBe(level);
    second.transport.restoreState(make(new RegisterRig(2)).transport.saveState());
    expect(second.line.level).toBe(false);
    second.transport.restoreState(state);
    second.driver.acknowledgeInterrupt();
    second.driver.kick(0);
    rig.interrupt(0);
    rig.deliver();
    second.hear(0);
  });

  test.each<[what: string, change: (state: Record<string, unknown>) => unknown]>([
    ['nothing', () => undefined],
    ['null', () => null],
    ['a number', () => 5],
    ['another version', (state) => ({ ...state, version: 2 })],
    ['no version', ({ version: _version, ...state }) => state],
    ['a negative selector', (state) => ({ ...state, queueSelect: -1 })],
    ['half a selector', (state) => ({ ...state, driverFeaturesSelect: 0.5 })],
    ['a selector of text', (state) => ({ ...state, deviceFeaturesSelect: '0' })],
    ['no queues', (state) => ({ ...state, queues: undefined })],
    ['a queue too few', (state) => ({ ...state, queues: (state['queues'] as number[]).slice(7) })],
    ['a word that is none', (state) => ({ ...state, queues: (state['queues'] as number[]).fill(2 ** 32) })],
    ['an ISR with more bits', (state) => ({ ...state, interruptStatus: 4, isr: 4 })],
  ])('refuses a state that is %s, and changes nothing', (__, change) => {
    const rig = new RegisterRig(2);
    const machine = make(rig);
    void new StartedDevice(rig, machine.driver);
    const before = machine.transport.saveState();
    const copy = JSON.parse(JSON.stringify(before)) as Record<string, unknown>;
    expect(() => {
      machine.transport.restoreState(change(copy));
    }).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
    expect(machine.transport.saveState()).toEqual(before);
    expect(machine.line.level).toBe(false);
  });

  test('refuses the state of the other transport', () => {
    const machine = make(new RegisterRig());
    const other = TRANSPORTS.map(([, makeOther]) => makeOther(new RegisterRig()).transport).find(
      (transport) => transport instanceof VirtioMmio !== machine.transport instanceof VirtioMmio,
    );
    expect(() => {
      machine.transport.restoreState(other!.saveState());
    }).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
  });
});
