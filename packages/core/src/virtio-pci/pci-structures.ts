import { coversLowestByte, merged, RegisterBank } from '../virtio/register-bank.js';
import { CONFIG_INTERRUPT, type RegisteredDevice } from '../virtio/registered-device.js';
import { QueueField, type TransportRegisters } from '../virtio/transport-registers.js';
import type { PciInterrupts } from './pci-interrupts.js';
import * as layout from './pci-layout.js';

/** The registers of the common configuration and the ISR status: offset and bytes; 64-bit fields are two. */
const REGISTERS: readonly (readonly [offset: number, bytes: number])[] = [
  [layout.COMMON_DEVICE_FEATURE_SELECT, 4],
  [layout.COMMON_DEVICE_FEATURE, 4],
  [layout.COMMON_DRIVER_FEATURE_SELECT, 4],
  [layout.COMMON_DRIVER_FEATURE, 4],
  [layout.COMMON_CONFIG_MSIX_VECTOR, 2],
  [layout.COMMON_NUM_QUEUES, 2],
  [layout.COMMON_DEVICE_STATUS, 1],
  [layout.COMMON_CONFIG_GENERATION, 1],
  [layout.COMMON_QUEUE_SELECT, 2],
  [layout.COMMON_QUEUE_SIZE, 2],
  [layout.COMMON_QUEUE_MSIX_VECTOR, 2],
  [layout.COMMON_QUEUE_ENABLE, 2],
  [layout.COMMON_QUEUE_NOTIFY_OFF, 2],
  [layout.COMMON_QUEUE_DESC, 4],
  [layout.COMMON_QUEUE_DESC + 4, 4],
  [layout.COMMON_QUEUE_DRIVER, 4],
  [layout.COMMON_QUEUE_DRIVER + 4, 4],
  [layout.COMMON_QUEUE_DEVICE, 4],
  [layout.COMMON_QUEUE_DEVICE + 4, 4],
  [layout.STRUCTURE_ISR, 1],
];

/** For each byte before the device's configuration: where its register begins, and how many bytes that has. */
const REGISTER_AT = Uint8Array.from({ length: layout.STRUCTURE_DEVICE }, (_, offset) => offset);
const REGISTER_BYTES = new Uint8Array(layout.STRUCTURE_DEVICE).fill(1);
for (const [offset, bytes] of REGISTERS) {
  REGISTER_AT.fill(offset, offset, offset + bytes);
  REGISTER_BYTES[offset] = bytes;
}

/** Registers that describe a queue and nothing else. */
const QUEUE_FIELDS: ReadonlyMap<number, QueueField> = new Map([
  [layout.COMMON_QUEUE_SIZE, QueueField.SIZE],
  [layout.COMMON_QUEUE_DESC, QueueField.DESCRIPTORS_LOW],
  [layout.COMMON_QUEUE_DESC + 4, QueueField.DESCRIPTORS_HIGH],
  [layout.COMMON_QUEUE_DRIVER, QueueField.DRIVER_LOW],
  [layout.COMMON_QUEUE_DRIVER + 4, QueueField.DRIVER_HIGH],
  [layout.COMMON_QUEUE_DEVICE, QueueField.DEVICE_LOW],
  [layout.COMMON_QUEUE_DEVICE + 4, QueueField.DEVICE_HIGH],
]);

/** The BAR that holds the virtio structures: common configuration, ISR status, device configuration, doorbells (4.1.4). */
export class PciStructures extends RegisterBank {
  readonly #device: RegisteredDevice;
  readonly #registers: TransportRegisters;
  readonly #interrupts: PciInterrupts;

  constructor(device: RegisteredDevice, registers: TransportRegisters, interrupts: PciInterrupts) {
    super(layout.STRUCTURE_NOTIFY + device.virtio.numQueues * layout.NOTIFY_OFF_MULTIPLIER);
    this.#device = device;
    this.#registers = registers;
    this.#interrupts = interrupts;
  }

  protected override registerAt(offset: number): number {
    if (offset < layout.STRUCTURE_DEVICE) return REGISTER_AT[offset]!;
    return offset < layout.STRUCTURE_NOTIFY ? offset : offset & ~(layout.NOTIFY_OFF_MULTIPLIER - 1);
  }

  protected override registerBytes(register: number): number {
    if (register < layout.STRUCTURE_DEVICE) return REGISTER_BYTES[register]!;
    return register < layout.STRUCTURE_NOTIFY ? 1 : layout.NOTIFY_OFF_MULTIPLIER;
  }

  protected override readRegister(register: number): number {
    const registers = this.#registers;
    // Doorbells are written only.
    if (register >= layout.STRUCTURE_NOTIFY) return 0;
    if (register >= layout.STRUCTURE_DEVICE) return registers.readConfig(register - layout.STRUCTURE_DEVICE);
    switch (register) {
      case layout.COMMON_DEVICE_FEATURE_SELECT:
        return registers.deviceFeaturesSelect;
      case layout.COMMON_DEVICE_FEATURE:
        return registers.deviceFeatures;
      case layout.COMMON_DRIVER_FEATURE_SELECT:
        return registers.driverFeaturesSelect;
      case layout.COMMON_DRIVER_FEATURE:
        return registers.driverFeatures;
      case layout.COMMON_CONFIG_MSIX_VECTOR:
        return this.#interrupts.vector(CONFIG_INTERRUPT);
      case layout.COMMON_NUM_QUEUES:
        return this.#device.virtio.numQueues;
      case layout.COMMON_DEVICE_STATUS:
        return registers.status;
      case layout.COMMON_CONFIG_GENERATION:
        return this.#device.virtio.configGeneration;
      case layout.COMMON_QUEUE_SELECT:
        return registers.queueSelect;
      case layout.COMMON_QUEUE_MSIX_VECTOR:
        return this.#interrupts.vector(registers.queueSelect);
      case layout.COMMON_QUEUE_ENABLE:
        return registers.queueEnabled ? 1 : 0;
      case layout.COMMON_QUEUE_NOTIFY_OFF:
        return registers.queueExists ? registers.queueSelect : 0;
      case layout.STRUCTURE_ISR:
        return this.#interrupts.takeIsr();
      default: {
        const field = QUEUE_FIELDS.get(register);
        return field === undefined ? 0 : registers.readQueue(field);
      }
    }
  }

  protected override writeRegister(register: number, value: number, mask: number): void {
    const registers = this.#registers;
    if (register >= layout.STRUCTURE_NOTIFY) {
      // Each queue has a doorbell of its own, so what is written there does not matter.
      if (coversLowestByte(mask)) {
        registers.kick((register - layout.STRUCTURE_NOTIFY) / layout.NOTIFY_OFF_MULTIPLIER);
      }
      return;
    }
    if (register >= layout.STRUCTURE_DEVICE) {
      registers.writeConfig(register - layout.STRUCTURE_DEVICE, value);
      return;
    }
    switch (register) {
      case layout.COMMON_DEVICE_FEATURE_SELECT:
        registers.deviceFeaturesSelect = merged(registers.deviceFeaturesSelect, value, mask);
        break;
      case layout.COMMON_DRIVER_FEATURE_SELECT:
        registers.driverFeaturesSelect = merged(registers.driverFeaturesSelect, value, mask);
        break;
      case layout.COMMON_DRIVER_FEATURE:
        registers.writeDriverFeatures(value, mask);
        break;
      case layout.COMMON_CONFIG_MSIX_VECTOR:
        this.#interrupts.writeVector(CONFIG_INTERRUPT, value, mask);
        break;
      case layout.COMMON_DEVICE_STATUS:
        if (registers.writeStatus(value)) this.#interrupts.reset();
        break;
      case layout.COMMON_QUEUE_SELECT:
        registers.queueSelect = merged(registers.queueSelect, value, mask);
        break;
      case layout.COMMON_QUEUE_MSIX_VECTOR:
        this.#interrupts.writeVector(registers.queueSelect, value, mask);
        break;
      case layout.COMMON_QUEUE_ENABLE:
        // Only a reset disables a queue: VIRTIO_F_RING_RESET is not offered.
        if (coversLowestByte(mask) && value === 1) registers.enableQueue();
        break;
      default: {
        const field = QUEUE_FIELDS.get(register);
        if (field !== undefined) registers.writeQueue(field, value, mask);
      }
    }
  }
}
