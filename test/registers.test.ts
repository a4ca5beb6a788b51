// The registers of every transport in front of a device whose requests are done elsewhere, interrupts and resets with them.
import {
  type RegisteredDevice,
  VIRTIO_BLK_S_OK,
  VIRTIO_BLK_T_IN,
  VIRTIO_BLK_T_OUT,
  VirtioMmio,
  VirtioPci,
} from '@iothreads/core';
import {
  BlkDriver,
  GuestAllocator,
  MmioDriver,
  PciDriver,
  type RegisterDriver,
  splitIntoBytes,
} from '@iothreads/core/testing';
import { IOThreadRuntime } from '@iothreads/iothread';
import { expect, test } from 'vitest';
import { createMemory } from './support/guest.js';
import { until } from './support/within.js';

const QUEUES = 3;

/** What the machine hears: the line's level, or messages. */
interface Interrupts {
  level: boolean;
  messages: number;
}

type Transport = (
  device: RegisteredDevice,
  heard: Interrupts,
) => { driver: RegisterDriver; close: () => void };

const mmio: Transport = (device, heard) => {
  const registers = new VirtioMmio(device, { setInterrupt: (level) => void (heard.level = level) });
  return { driver: new MmioDriver(splitIntoBytes(registers)), close: () => registers.close() };
};

const pci =
  (bar: 'io' | 'memory', msix: boolean): Transport =>
  (device, heard) => {
    const setInterrupt = (level: boolean) => void (heard.level = level);
    const sendMessage = () => void heard.messages++;
    const registers = new VirtioPci(device, msix ? { setInterrupt, sendMessage } : { setInterrupt }, { bar });
    return { driver: new PciDriver(registers, { msix }), close: () => registers.close() };
  };

test.each<[string, Transport]>([
  ['virtio-mmio', mmio],
  ['virtio-pci with its pin', pci('io', false)],
  ['virtio-pci with MSI-X', pci('memory', true)],
])('a device on an iothread is driven by %s alone, and again after a reset', async (_, connect) => {
  await using runtime = new IOThreadRuntime();
  await runtime.addIOThread({ id: 'iothread0' });
  const memory = createMemory();
  const device = await runtime.addDevice({
    id: 'vda',
    iothread: 'iothread0',
    drive: { driver: 'memory', size: 1 << 20 },
    memory,
    numQueues: QUEUES,
    queueSize: 16,
  });
  const heard: Interrupts = { level: false, messages: 0 };
  const { driver, close } = connect(device, heard);
  for (let life = 1; life <= 2; life++) {
    const allocator = new GuestAllocator([{ guestAddress: 0, buffer: memory }]);
    new Uint8Array(memory).fill(0);
    const queues = Array.from({ length: QUEUES }, () => allocator.allocateQueue(16));
    const blk = queues.map(
      (addresses) => new BlkDriver(allocator, { addresses, depth: 1, dataBytes: 512, eventIdx: true }),
    );
    driver.start(queues);
    for (const [index, { queue }] of blk.entries()) {
      for (const type of [VIRTIO_BLK_T_OUT, VIRTIO_BLK_T_IN]) {
        queue.enableInterrupts();
        const slot = blk[index]!.takeSlot();
        const { messages } = heard;
        blk[index]!.data(slot).fill(type === VIRTIO_BLK_T_OUT ? 16 * life + index : 0);
        blk[index]!.start(slot, type, index, 512);
        if (blk[index]!.publish()) driver.kick(index);
        await until('the interrupt', () => (heard.level || heard.messages > messages) && queue.hasUsed());
        driver.acknowledgeInterrupt();
        expect(heard.level).toBe(false);
        expect(blk[index]!.takeDone()).toBe(slot);
        expect(blk[index]!.status(slot)).toBe(VIRTIO_BLK_S_OK);
        expect(new Set(blk[index]!.data(slot))).toEqual(new Set([16 * life + index]));
      }
    }
    driver.reset();
    await until('the reset', () => driver.isReset);
    expect(heard.level).toBe(false);
  }
  close();
});
