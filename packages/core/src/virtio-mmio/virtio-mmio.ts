import { VIRTIO_ID_BLOCK } from '../virtio-blk/constants.js';
import { InterruptLine } from '../virtio/interrupt-line.js';
import { coversLowestByte, merged, RegisterBank } from '../virtio/register-bank.js';
import { CONFIG_INTERRUPT, type RegisteredDevice } from '../virtio/registered-device.js';
import { SavedState } from '../virtio/saved-state.js';
import {
  QueueField,
  TransportRegisters,
  type TransportRegistersState,
} from '../virtio/transport-registers.js';
import * as layout from './mmio-layout.js';

/** "IOTH", little-endian: nobody registers these. */
const VENDOR_ID = 0x4854_4f49;
const STATE_VERSION = 1;

/** The machine that maps the registers. */
export interface VirtioMmioHost {
  /** The device's interrupt line changes to this level. Called from within reads, writes and the device's interrupts. */
  setInterrupt(level: boolean): void;
}

/** What `saveState` gives: plain JSON. */
export interface VirtioMmioState extends TransportRegistersState {
  readonly version: typeof STATE_VERSION;
  readonly interruptStatus: number;
}

/** Registers that describe a queue, with what they mean. */
const QUEUE_FIELDS: ReadonlyMap<number, QueueField> = new Map([
  [layout.MMIO_QUEUE_SIZE, QueueField.SIZE],
  [layout.MMIO_QUEUE_DESC_LOW, QueueField.DESCRIPTORS_LOW],
  [layout.MMIO_QUEUE_DESC_HIGH, QueueField.DESCRIPTORS_HIGH],
  [layout.MMIO_QUEUE_DRIVER_LOW, QueueField.DRIVER_LOW],
  [layout.MMIO_QUEUE_DRIVER_HIGH, QueueField.DRIVER_HIGH],
  [layout.MMIO_QUEUE_DEVICE_LOW, QueueField.DEVICE_LOW],
  [layout.MMIO_QUEUE_DEVICE_HIGH, QueueField.DEVICE_HIGH],
]);

/**
 * A device's registers for virtio over MMIO, version 2 (virtio 1.3 section 4.2). The machine maps `MMIO_BYTES` of its address
 * space to `read` and `write`, which take offsets from where that begins, and leads the line to its interrupt controller.
 *
 * ```ts
 * const mmio = new VirtioMmio(device, { setInterrupt: (level) => plic.setLevel(irq, level) });
 * mmio.write(address - base, 4, value);
 * ```
 */
export class VirtioMmio extends RegisterBank {
  readonly #device: RegisteredDevice;
  readonly #registers: TransportRegisters;
  readonly #line: InterruptLine;
  readonly #unsubscribe: () => void;
  #interruptStatus = 0;

  constructor(device: RegisteredDevice, host: VirtioMmioHost) {
    super(layout.MMIO_BYTES);
    this.#device = device;
    this.#registers = new TransportRegisters(device);
    this.#line = new InterruptLine((level) => {
      host.setInterrupt(level);
    });
    this.#unsubscribe = device.onInterrupt((source) => {
      if (!this.#registers.running) return;
      const cause = source === CONFIG_INTERRUPT ? layout.MMIO_INT_CONFIG : layout.MMIO_INT_VRING;
      this.#setInterruptStatus(this.#interruptStatus | cause);
    });
  }

  /** The machine was reset: as if the driver had written status 0. */
  reset(): void {
    this.#registers.reset();
    this.#setInterruptStatus(0);
  }

  /** Lowers the line and hears of no more interrupts. The device itself is its owner's. */
  close(): void {
    this.#unsubscribe();
    this.#setInterruptStatus(0);
  }

  /** What these registers remember, as plain JSON; what the device remembers (status, features, enabled queues) is not in it. */
  saveState(): VirtioMmioState {
    return {
      version: STATE_VERSION,
      interruptStatus: this.#interruptStatus,
      ...this.#registers.saveState(),
    };
  }

  /**
   * Goes on where `saveState` was called; the line follows. The device's own state is restored by its owner, before or after.
   * @throws VirtioError `ERR_STATE` for what is no state of such a device; nothing has changed then
   */
  restoreState(state: unknown): void {
    const saved = new SavedState('virtio-mmio', state, STATE_VERSION);
    const interruptStatus = saved.uint('interruptStatus', layout.MMIO_INT_VRING | layout.MMIO_INT_CONFIG);
    this.#registers.prepareRestore(saved)();
    this.#setInterruptStatus(interruptStatus);
  }

  protected override registerAt(offset: number): number {
    return offset < layout.MMIO_CONFIG ? offset & ~3 : offset;
  }

  protected override registerBytes(register: number): number {
    return register < layout.MMIO_CONFIG ? 4 : 1;
  }

  protected override readRegister(register: number): number {
    if (register >= layout.MMIO_CONFIG) return this.#registers.readConfig(register - layout.MMIO_CONFIG);
    switch (register) {
      case layout.MMIO_MAGIC_VALUE:
        return layout.MMIO_MAGIC;
      case layout.MMIO_VERSION:
        return 2;
      case layout.MMIO_DEVICE_ID:
        return VIRTIO_ID_BLOCK;
      case layout.MMIO_VENDOR_ID:
        return VENDOR_ID;
      case layout.MMIO_DEVICE_FEATURES:
        return this.#registers.deviceFeatures;
      case layout.MMIO_QUEUE_SIZE_MAX:
        return this.#registers.queueSizeMax;
      case layout.MMIO_QUEUE_READY:
        return this.#registers.queueEnabled ? 1 : 0;
      case layout.MMIO_INTERRUPT_STATUS:
        return this.#interruptStatus;
      case layout.MMIO_STATUS:
        return this.#registers.status;
      case layout.MMIO_SHM_LEN_LOW:
      case layout.MMIO_SHM_LEN_HIGH:
      case layout.MMIO_SHM_BASE_LOW:
      case layout.MMIO_SHM_BASE_HIGH:
        // There is no shared memory region, whichever the driver selects.
        return 0xffff_ffff;
      case layout.MMIO_CONFIG_GENERATION:
        return this.#device.virtio.configGeneration;
      default:
        return 0;
    }
  }

  protected override writeRegister(register: number, value: number, mask: number): void {
    const registers = this.#registers;
    if (register >= layout.MMIO_CONFIG) {
      registers.writeConfig(register - layout.MMIO_CONFIG, value);
      return;
    }
    switch (register) {
      case layout.MMIO_QUEUE_NOTIFY:
        if (coversLowestByte(mask)) registers.kick(value >>> 0);
        break;
      case layout.MMIO_INTERRUPT_ACK:
        this.#setInterruptStatus(this.#interruptStatus & ~value);
        break;
      case layout.MMIO_DEVICE_FEATURES_SEL:
        registers.deviceFeaturesSelect = merged(registers.deviceFeaturesSelect, value, mask);
        break;
      case layout.MMIO_DRIVER_FEATURES_SEL:
        registers.driverFeaturesSelect = merged(registers.driverFeaturesSelect, value, mask);
        break;
      case layout.MMIO_DRIVER_FEATURES:
        registers.writeDriverFeatures(value, mask);
        break;
      case layout.MMIO_QUEUE_SEL:
        registers.queueSelect = merged(registers.queueSelect, value, mask);
        break;
      case layout.MMIO_QUEUE_READY:
        if (coversLowestByte(mask)) this.#writeQueueReady(value);
        break;
      case layout.MMIO_STATUS:
        if (coversLowestByte(mask) && registers.writeStatus(value)) this.#setInterruptStatus(0);
        break;
      default: {
        const field = QUEUE_FIELDS.get(register);
        if (field !== undefined) registers.writeQueue(field, value, mask);
      }
    }
  }

  /** 0 stops a queue; it reads as ready until it has stopped (4.2.2.2). */
  #writeQueueReady(value: number): void {
    if ((value & 1) === 1) this.#registers.enableQueue();
    else this.#registers.disableQueue();
  }

  #setInterruptStatus(interruptStatus: number): void {
    this.#interruptStatus = interruptStatus;
    this.#line.level = interruptStatus !== 0;
  }
}
