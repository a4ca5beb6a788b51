import {
  CLASS_MASS_STORAGE_OTHER,
  COMMON_DEVICE_FEATURE,
  COMMON_DEVICE_FEATURE_SELECT,
  COMMON_DRIVER_FEATURE_SELECT,
  COMMON_CONFIG_MSIX_VECTOR,
  COMMON_QUEUE_DESC,
  COMMON_QUEUE_DEVICE,
  COMMON_QUEUE_ENABLE,
  COMMON_QUEUE_MSIX_VECTOR,
  COMMON_QUEUE_SELECT,
  COMMON_QUEUE_SIZE,
  CONFIG_INTERRUPT,
  MSIX_CONTROL_ENABLE,
  MSIX_CONTROL_FUNCTION_MASK,
  PCI_BAR0,
  PCI_CAP_ID_MSIX,
  PCI_COMMAND,
  PCI_COMMAND_INTX_DISABLE,
  PCI_COMMAND_IO,
  PCI_COMMAND_MEMORY,
  PCI_INTERRUPT_LINE,
  PCI_STATUS,
  PCI_STATUS_INTERRUPT,
  STRUCTURE_ISR,
  STRUCTURE_NOTIFY,
  VIRTIO_BLK_T_OUT,
  VIRTIO_MSI_NO_VECTOR,
  VirtioPci,
} from '@iothreads/core';
import { PciDriver } from '@iothreads/core/testing';
import { describe, expect, test } from 'vitest';
import { Line, pciMachine } from './support/register-machines.js';
import { RegisterRig } from './support/register-rig.js';
import { StartedDevice } from './support/started-device.js';

const quiet = { setInterrupt: () => {} };

describe('configuration space', () => {
  test('says what the function is', () => {
    const pci = new VirtioPci(new RegisterRig(), quiet, { bar: 'io' });
    expect(pci.readConfig(0x00, 4)).toBe(0x1042_1af4);
    expect(pci.readConfig(0x08, 4)).toBe(((CLASS_MASS_STORAGE_OTHER << 8) | 1) >>> 0);
    expect(pci.readConfig(0x0e, 1)).toBe(0);
    expect(pci.readConfig(0x2c, 4)).toBe(0x1100_1af4);
    expect(pci.readConfig(PCI_STATUS, 2)).toBe(0x0010);
    expect(pci.readConfig(0x3d, 1)).toBe(1);
    expect([256, 1000, -4, NaN].map((offset) => pci.readConfig(offset, 4))).toEqual([0, 0, 0, 0]);
  });

  test('can be taken over by a machine that keeps such spaces itself', () => {
    const pci = new VirtioPci(new RegisterRig(), quiet, { bar: 'io' });
    const bytes = pci.configSpace();
    expect(bytes).toHaveLength(256);
    for (let offset = 0; offset < 256; offset++) expect(pci.readConfig(offset, 1)).toBe(bytes[offset]);
    bytes.fill(0xff);
    expect(pci.readConfig(0, 2)).toBe(0x1af4);
    expect(pci.bars).toEqual([expect.objectContaining({ index: 0, kind: 'io', byteLength: 256 })]);
  });

  test.each<['io' | 'memory', queues: number, canSend: boolean, bars: [string, number][]]>([
    ['io', 1, false, [['io', 256]]],
    ['io', 32, false, [['io', 256]]],
    [
      'io',
      32,
      true,
      [
        ['io', 256],
        ['memory', 4096],
      ],
    ],
    ['memory', 1, false, [['memory', 4096]]],
    [
      'memory',
      256,
      true,
      [
        ['memory', 4096],
        ['memory', 8192],
      ],
    ],
    ['memory', 1024, false, [['memory', 8192]]],
  ])('BARs in %s for %i queues, MSI-X %s', (bar, queues, canSend, bars) => {
    const { driver, transport } = pciMachine(new RegisterRig(queues), { bar, canSend });
    expect((driver as PciDriver).bars.map(({ kind, byteLength }) => [kind, byteLength])).toEqual(bars);
    for (const { index, address } of (driver as PciDriver).bars) {
      expect(transport.barAddress(index)).toBe(address);
    }
    driver.kick(queues - 1);
  });

  test('ports have no room for 33 queues', () => {
    expect(() => new VirtioPci(new RegisterRig(33), quiet, { bar: 'io' })).toThrow(
      expect.objectContaining({
        code: 'ERR_DEVICE_OPTION',
        message: "bar: an I/O BAR has no room for the doorbells of 33 queues; use 'memory'",
      }),
    );
  });

  test('the machine hears where BARs are, while they are enabled and not being sized', () => {
    const rig = new RegisterRig();
    const heard: (number | undefined)[] = [];
    const pci = new VirtioPci(
      rig,
      { ...quiet, barsChanged: () => heard.push(pci.barAddress(0)) },
      { bar: 'io' },
    );
    pci.writeConfig(PCI_BAR0, 4, 0xe600);
    expect(heard).toEqual([]);
    expect(pci.readConfig(PCI_BAR0, 4)).toBe(0xe601);
    pci.writeConfig(PCI_COMMAND, 2, PCI_COMMAND_MEMORY);
    expect(heard).toEqual([]);
    pci.writeConfig(PCI_COMMAND, 2, PCI_COMMAND_IO);
    pci.writeConfig(PCI_COMMAND, 2, PCI_COMMAND_IO);
    pci.writeConfig(PCI_BAR0, 4, 0xffff_ffff);
    expect(pci.readConfig(PCI_BAR0, 4)).toBe(0xffff_ff01);
    pci.writeConfig(PCI_BAR0, 4, 0xc0ff);
    pci.writeConfig(PCI_BAR0, 4, 0);
    pci.writeConfig(PCI_BAR0 + 1, 1, 0xd0);
    pci.writeConfig(PCI_COMMAND, 1, 0);
    expect(heard).toEqual([0xe600, undefined, 0xc000, undefined, 0xd000, undefined]);
    expect(pci.barAddress(1)).toBeUndefined();
    // BARs that are not there read as 0 whatever is written.
    for (let bar = 1; bar < 6; bar++) {
      pci.writeConfig(PCI_BAR0 + 4 * bar, 4, 0xffff_ffff);
      expect(pci.readConfig(PCI_BAR0 + 4 * bar, 4)).toBe(0);
    }
  });

  test('is as at power-on after the machine’s reset, and the BARs are gone', () => {
    const rig = new RegisterRig();
    let changes = 0;
    const pci = new VirtioPci(rig, { ...quiet, barsChanged: () => changes++ }, { bar: 'memory' });
    const initial = pci.configSpace();
    void new PciDriver(pci);
    expect(pci.barAddress(0)).toBe(0xfe00_0000);
    expect(changes).toBe(1);
    pci.reset();
    expect(pci.configSpace()).toEqual(initial);
    expect(pci.barAddress(0)).toBeUndefined();
    expect(changes).toBe(2);
  });

  test('keeps what is the driver’s to write, and nothing else', () => {
    const { transport: pci } = pciMachine(new RegisterRig(), { canSend: true });
    pci.writeConfig(PCI_INTERRUPT_LINE, 1, 11);
    expect(pci.readConfig(PCI_INTERRUPT_LINE, 2)).toBe(0x010b);
    const before = pci.configSpace();
    const writable = (offset: number): boolean =>
      (offset >= 0x10 && offset < 0x18) || [0x04, 0x05, 0x0c, 0x3c].includes(offset) || offset >= 0x84;
    for (let offset = 0; offset < 256; offset++) if (!writable(offset)) pci.writeConfig(offset, 1, 0xff);
    expect(pci.configSpace()).toEqual(before);
    pci.writeConfig(PCI_COMMAND, 4, 0xffff_ffff);
    expect(pci.readConfig(PCI_COMMAND, 2)).toBe(0x0407);
    for (let offset = 0x84; offset < 256; offset++) {
      if (offset < 0x94 || offset > 0x97) pci.writeConfig(offset, 1, 0xff);
    }
    const after = pci.configSpace();
    // cap.bar, cap.offset and cap.length of the access capability; two bits of the MSI-X control.
    const changed = [...after.keys()].filter((i) => i >= 0x84 && after[i] !== before[i]);
    expect(changed).toEqual([0x88, 0x8c, 0x8d, 0x8e, 0x8f, 0x90, 0x91, 0x92, 0x93, 0x9b]);
  });

  test('the access capability reaches the BARs where it may, and has an effect once', () => {
    const { transport: pci, rig } = pciMachine(new RegisterRig(2));
    const point = (bar: number, offset: number, length: number): void => {
      pci.writeConfig(0x88, 1, bar);
      pci.writeConfig(0x8c, 4, offset);
      pci.writeConfig(0x90, 4, length);
    };
    point(0, STRUCTURE_NOTIFY + 4, 2);
    pci.writeConfig(0x94, 2, 1);
    pci.writeConfig(0x94, 4, 1);
    pci.writeConfig(0x95, 1, 1);
    expect(rig.kicks).toEqual([1, 1]);
    // Only as many bytes as it says.
    point(0, COMMON_DEVICE_FEATURE, 2);
    const { offeredFeatures } = rig.virtio;
    expect(pci.readConfig(0x94, 4)).toBe(Number(offeredFeatures & 0xffffn));
    point(0, COMMON_DEVICE_FEATURE, 0xffff_ffff);
    expect(pci.readConfig(0x94, 4)).toBe(Number(offeredFeatures & 0xffff_ffffn));
    expect(pci.readConfig(0x96, 2)).toBe(Number((offeredFeatures >> 16n) & 0xffffn));
    for (const [bar, offset] of [
      [1, 0],
      [6, 0],
      [255, 0],
      [0, 0xffff_fffe],
    ] as const) {
      point(bar, offset, 4);
      pci.writeConfig(0x94, 4, 0xffff_ffff);
      expect(pci.readConfig(0x94, 4)).toBe(0);
    }
    expect(rig.virtio.status).toBe(0);
  });
});

describe('the pin', () => {
  test('goes low at once when the ISR status is read, however wide', () => {
    const { transport: pci, rig, driver, line } = pciMachine();
    void new StartedDevice(rig, driver);
    const raise = (): void => {
      rig.interrupt(0);
      rig.interrupt(CONFIG_INTERRUPT);
      rig.deliver();
      expect(line.level).toBe(true);
    };
    for (const [offset, width, value] of [
      [STRUCTURE_ISR, 1, 3],
      [STRUCTURE_ISR, 2, 3],
      [STRUCTURE_ISR, 4, 3],
      [STRUCTURE_ISR - 1, 4, 0x300],
    ] as const) {
      raise();
      // Beside it, nothing happens.
      pci.readBar(0, STRUCTURE_ISR + 1, 1);
      pci.readBar(0, STRUCTURE_ISR - 4, 4);
      pci.writeBar(0, STRUCTURE_ISR, 1, 0);
      expect(line.level).toBe(true);
      expect(pci.readBar(0, offset, width)).toBe(value);
      expect(line.level).toBe(false);
      expect(pci.readBar(0, STRUCTURE_ISR, 1)).toBe(0);
    }
    raise();
    expect(pci.readBar64(0, STRUCTURE_ISR)).toBe(3n);
  });

  test('stays low while the driver has disabled it, and the PCI status tells', () => {
    const { transport: pci, rig, driver, line } = pciMachine();
    const started = new StartedDevice(rig, driver);
    const status = (): number => pci.readConfig(PCI_STATUS, 2) & PCI_STATUS_INTERRUPT;
    started.submit(0, VIRTIO_BLK_T_OUT, 1);
    expect(status()).toBe(0);
    rig.deliver();
    expect([line.level, status()]).toEqual([true, PCI_STATUS_INTERRUPT]);
    const command = pci.readConfig(PCI_COMMAND, 2);
    pci.writeConfig(PCI_COMMAND, 2, command | PCI_COMMAND_INTX_DISABLE);
    expect([line.level, status()]).toEqual([false, PCI_STATUS_INTERRUPT]);
    pci.writeConfig(PCI_COMMAND, 2, command);
    expect([line.level, status()]).toEqual([true, PCI_STATUS_INTERRUPT]);
    expect(driver.acknowledgeInterrupt()).toEqual({ queue: true, config: false });
    expect([line.level, status()]).toEqual([false, 0]);
  });
});

describe('MSI-X', () => {
  const setUp = (numQueues = 2) => {
    const machine = pciMachine(new RegisterRig(numQueues), { msix: true });
    const driver = machine.driver as PciDriver;
    void new StartedDevice(machine.rig, driver);
    const raise = (...sources: number[]): void => {
      for (const source of sources) machine.rig.interrupt(source);
      machine.rig.deliver();
    };
    const { rig, line, messages, transport: pci } = machine;
    return { rig, line, messages, pci, driver, raise };
  };

  test('is offered where the machine can send messages: a vector for each queue and one more', () => {
    const { driver, pci } = setUp(4);
    const at = driver.capabilities.get(PCI_CAP_ID_MSIX)!;
    expect(pci.readConfig(at + 2, 2)).toBe(MSIX_CONTROL_ENABLE | 4);
    expect(pci.readConfig(at + 4, 4)).toBe(1);
    expect(pci.readConfig(at + 8, 4)).toBe((5 * 16) | 1);
    const without = pciMachine().driver as PciDriver;
    expect(without.capabilities.has(PCI_CAP_ID_MSIX)).toBe(false);
    expect(() => pciMachine(undefined, { msix: true, canSend: false })).toThrow('no capability 17');
  });

  test('sends a message of its own for each event, and leaves the pin and the queues’ ISR bit alone', () => {
    const { raise, messages, line, driver } = setUp();
    raise(1, CONFIG_INTERRUPT, 0);
    expect(messages).toEqual([2, 0, 1].map((vector) => PciDriver.message(vector)));
    expect(messages[0]).toEqual([0xfee0_3000, 1, 0x42]);
    expect(line.raised).toBe(0);
    expect(driver.acknowledgeInterrupt()).toEqual({ queue: false, config: true });
  });

  test('keeps back what is masked, and sends it once when it is not', () => {
    const { raise, messages, driver, pci } = setUp();
    const pending = (): number => pci.readBar(1, 3 * 16, 4);
    driver.maskVector(2, true);
    raise(1);
    raise(1, 0);
    expect(messages.splice(0)).toEqual([PciDriver.message(1)]);
    expect(pending()).toBe(0b100);
    pci.writeBar(1, 3 * 16, 4, 0xffff_ffff);
    expect(pending()).toBe(0b100);
    driver.maskVector(2, true);
    expect(messages).toEqual([]);
    driver.maskVector(2, false);
    expect(messages.splice(0)).toEqual([PciDriver.message(2)]);
    expect(pending()).toBe(0);
    driver.writeMsixControl(MSIX_CONTROL_ENABLE | MSIX_CONTROL_FUNCTION_MASK);
    raise(1, 0);
    driver.maskVector(1, true);
    driver.writeMsixControl(MSIX_CONTROL_ENABLE);
    expect(messages.splice(0)).toEqual([PciDriver.message(2)]);
    expect(pending()).toBe(0b10);
    driver.writeMsixControl(0);
    driver.maskVector(1, false);
    expect(messages).toEqual([]);
    driver.writeMsixControl(MSIX_CONTROL_ENABLE);
    expect(messages).toEqual([PciDriver.message(1)]);
  });

  test('once disabled, the pin is what interrupts; enabled, it goes low', () => {
    const { raise, messages, driver, line } = setUp();
    raise(CONFIG_INTERRUPT);
    messages.length = 0;
    driver.writeMsixControl(0);
    expect(line.level).toBe(true);
    raise(1);
    expect(messages).toEqual([]);
    driver.writeMsixControl(MSIX_CONTROL_ENABLE);
    expect(line.level).toBe(false);
    driver.writeMsixControl(0);
    expect(driver.acknowledgeInterrupt()).toEqual({ queue: true, config: true });
    expect(line.level).toBe(false);
  });

  test('an event without a vector, or with one that is not there, is silent', () => {
    const { raise, messages, pci } = setUp();
    const map = (queue: number, vector: number): number => {
      pci.writeBar(0, COMMON_QUEUE_SELECT, 2, queue);
      pci.writeBar(0, COMMON_QUEUE_MSIX_VECTOR, 2, vector);
      return pci.readBar(0, COMMON_QUEUE_MSIX_VECTOR, 2);
    };
    expect(map(0, VIRTIO_MSI_NO_VECTOR)).toBe(VIRTIO_MSI_NO_VECTOR);
    expect(map(1, 3)).toBe(VIRTIO_MSI_NO_VECTOR);
    expect(map(2, 1)).toBe(VIRTIO_MSI_NO_VECTOR);
    pci.writeBar(0, COMMON_CONFIG_MSIX_VECTOR, 2, 0x8000);
    expect(pci.readBar(0, COMMON_CONFIG_MSIX_VECTOR, 2)).toBe(VIRTIO_MSI_NO_VECTOR);
    raise(0, 1, CONFIG_INTERRUPT);
    expect(messages).toEqual([]);
    // Events may share one.
    expect(map(0, 2)).toBe(2);
    expect(map(1, 2)).toBe(2);
    raise(0, 1);
    expect(messages).toEqual([PciDriver.message(2), PciDriver.message(2)]);
  });

  test('a reset of the device unmaps the events and forgets what was kept back; the table stays', () => {
    const { raise, messages, driver, pci } = setUp();
    driver.maskVector(1, true);
    raise(0);
    driver.reset();
    pci.writeBar(0, COMMON_QUEUE_SELECT, 2, 0);
    expect(pci.readBar(0, COMMON_QUEUE_MSIX_VECTOR, 2)).toBe(VIRTIO_MSI_NO_VECTOR);
    expect(pci.readBar(0, COMMON_CONFIG_MSIX_VECTOR, 2)).toBe(VIRTIO_MSI_NO_VECTOR);
    driver.maskVector(1, false);
    expect(messages).toEqual([]);
    expect(pci.readBar(1, 16, 4)).toBe(PciDriver.message(1)[0]);
    pci.reset();
    expect([0, 4, 8, 12].map((at) => pci.readBar(1, 16 + at, 4))).toEqual([0, 0, 0, 1]);
    pci.writeBar(1, 16 + 12, 4, 0xffff_fffe);
    expect(pci.readBar(1, 16 + 12, 4)).toBe(0);
  });

  test('what was kept back is still to come after a restore', () => {
    const { raise, driver, pci, rig } = setUp();
    driver.maskVector(2, true);
    raise(1);
    const state = JSON.stringify(pci.saveState());
    pci.close();
    const messages: number[][] = [];
    const line = new Line();
    let moved = 0;
    const again = new VirtioPci(
      rig,
      {
        setInterrupt: (level) => {
          line.set(level);
        },
        sendMessage: (...message) => messages.push(message),
        barsChanged: () => moved++,
      },
      { bar: 'memory' },
    );
    again.restoreState(JSON.parse(state));
    expect(again.barAddress(0)).toBe(driver.bars[0]!.address);
    expect(again.barAddress(1)).toBe(driver.bars[1]!.address);
    expect(moved).toBe(1);
    again.writeBar(1, 2 * 16 + 12, 4, 0);
    expect(messages).toEqual([PciDriver.message(2)]);
    expect(line.raised).toBe(0);
  });

  test.each([
    ['other BARs', { bar: 'io', canSend: true } as const, 2],
    ['no MSI-X', { bar: 'memory', canSend: false } as const, 2],
    ['other queues', { bar: 'memory', canSend: true } as const, 3],
  ])('a state is not for a function with %s', (_, options, numQueues) => {
    const { pci } = setUp();
    const { transport: other } = pciMachine(new RegisterRig(numQueues), options);
    expect(() => {
      other.restoreState(pci.saveState());
    }).toThrow(expect.objectContaining({ code: 'ERR_STATE' }));
  });
});

describe('common configuration', () => {
  test('reads back what was written, in any part', () => {
    const { transport: pci, rig } = pciMachine(new RegisterRig(2));
    pci.writeBar(0, COMMON_DEVICE_FEATURE_SELECT, 4, 0x1234_5678);
    expect(pci.readBar(0, COMMON_DEVICE_FEATURE, 4)).toBe(0);
    expect(pci.readBar(0, COMMON_DEVICE_FEATURE_SELECT, 4)).toBe(0x1234_5678);
    expect(pci.readBar(0, -1, 2)).toBe(0x7800);
    pci.writeBar(0, COMMON_QUEUE_SELECT, 2, 0x1234);
    expect(pci.readBar(0, COMMON_QUEUE_SELECT, 2)).toBe(0x1234);
    pci.writeBar(0, COMMON_QUEUE_SELECT, 2, 0);
    pci.writeBar(0, COMMON_DRIVER_FEATURE_SELECT + 3, 1, 0x80);
    expect(pci.readBar(0, COMMON_DRIVER_FEATURE_SELECT, 4)).toBe(0x8000_0000);
    pci.writeBar64(0, COMMON_QUEUE_DESC, 0x8765_4321_fedc_ba98n);
    expect(pci.readBar64(0, COMMON_QUEUE_DESC)).toBe(0x8765_4321_fedc_ba98n);
    expect(pci.readBar(0, COMMON_QUEUE_DESC + 2, 4)).toBe(0x4321_fedc);
    pci.writeBar(0, COMMON_QUEUE_DESC + 3, 2, 0x1122);
    expect(pci.readBar64(0, COMMON_QUEUE_DESC)).toBe(0x8765_4311_22dc_ba98n);
    // A queue has its own.
    pci.writeBar(0, COMMON_QUEUE_SELECT, 2, 1);
    expect(pci.readBar64(0, COMMON_QUEUE_DESC)).toBe(0n);
    // One access over status, generation and selector.
    pci.writeBar(0, 20, 4, 0x0000_ff01);
    expect(pci.readBar(0, 20, 4)).toBe(0x0000_0001);
    expect(rig.virtio.status).toBe(1);
  });

  test('an enabled queue shows where it is after a restore, and a 0 does not disable it', () => {
    const { transport: pci, rig, driver } = pciMachine(new RegisterRig(2));
    const started = new StartedDevice(rig, driver);
    const state = pci.saveState();
    pci.close();
    const again = new VirtioPci(rig, quiet, { bar: 'memory' });
    again.restoreState(state);
    again.writeBar(0, COMMON_QUEUE_SELECT, 2, 1);
    again.writeBar(0, COMMON_QUEUE_ENABLE, 2, 0);
    expect(again.readBar(0, COMMON_QUEUE_ENABLE, 2)).toBe(1);
    expect(again.readBar(0, COMMON_QUEUE_SIZE, 2)).toBe(16);
    expect(again.readBar64(0, COMMON_QUEUE_DESC)).toBe(BigInt(started.queues[1]!.descriptorTable));
    expect(again.readBar64(0, COMMON_QUEUE_DEVICE)).toBe(BigInt(started.queues[1]!.usedRing));
  });

  test('each doorbell rings its own queue, for a write that covers its lowest byte', () => {
    const { transport: pci, rig } = pciMachine(new RegisterRig(3));
    const ring = (offset: number, width: 1 | 2 | 4): void => {
      pci.writeBar(0, STRUCTURE_NOTIFY + offset, width, 0xffff);
    };
    ring(0, 2);
    ring(4, 4);
    ring(8, 1);
    for (const beside of [1, 2, 3, 5, 9]) ring(beside, 1);
    ring(12, 4);
    ring(0xf00, 4);
    ring(3, 2);
    pci.writeBar64(0, STRUCTURE_NOTIFY, 0n);
    expect(rig.kicks).toEqual([0, 1, 2, 1, 0, 1]);
    expect(pci.readBar(0, STRUCTURE_NOTIFY, 4)).toBe(0);
  });

  test('BARs that are not there read as 0', () => {
    const { transport: pci } = pciMachine();
    for (const bar of [1, 5, 6, -1, NaN, 2 ** 32]) {
      pci.writeBar(bar, 0, 4, 1);
      pci.writeBar64(bar, 0, 1n);
      expect(pci.readBar(bar, 0, 4)).toBe(0);
      expect(pci.readBar64(bar, 0)).toBe(0n);
    }
    expect(pci.readBar(0, 4096, 4)).toBe(0);
  });
});
