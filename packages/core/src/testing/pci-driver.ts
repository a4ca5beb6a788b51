import { VIRTIO_ID_BLOCK } from '../virtio-blk/constants.js';
import * as layout from '../virtio-pci/pci-layout.js';
import type { AccessWidth } from '../virtio/register-bank.js';
import type { VirtqueueAddresses } from '../virtqueue/split-ring.js';
import type { RegisterBus } from './register-bus.js';
import { highHalf, type InterruptCause, lowHalf, RegisterDriver } from './register-driver.js';

/** The way from a driver to a PCI function: a `VirtioPci`. */
export interface PciBus {
  /** Reads the configuration space. */
  readConfig(offset: number, width: AccessWidth): number;
  /** Writes it. */
  writeConfig(offset: number, width: AccessWidth, value: number): void;
  /** Reads what is behind a BAR, at an offset from where that begins. */
  readBar(bar: number, offset: number, width: AccessWidth): number;
  /** Writes it. */
  writeBar(bar: number, offset: number, width: AccessWidth, value: number): void;
}

/** How a driver goes about its function. */
export interface PciDriverOptions {
  /** Interrupts come as messages: vector 0 for the configuration, vector 1 + n for queue n. */
  readonly msix?: boolean;
  /** Where the driver puts its first BAR; the others lie above it. */
  readonly address?: number;
  /** What every access goes through, `splitIntoBytes` for one. */
  readonly wrap?: (bus: RegisterBus) => RegisterBus;
}

/** A virtio structure, as its capability tells. */
interface Structure {
  readonly bus: RegisterBus;
  readonly offset: number;
  readonly length: number;
}

/** A BAR as the driver has found and placed it. */
export interface PlacedBar {
  readonly index: number;
  readonly kind: 'io' | 'memory';
  readonly byteLength: number;
  readonly address: number;
}

const BARS = 6;
const MSIX_ADDRESS_LOW = 0xfee0_1000;
const MSIX_ADDRESS_HIGH = 0x1;
const MSIX_DATA = 0x40;

/**
 * Drives a block device as a modern virtio-pci function: sizes, places and enables the BARs, finds the structures by their
 * capabilities (virtio 1.3 sections 4.1.4 and 4.1.5.1), and goes through them.
 */
export class PciDriver extends RegisterDriver {
  readonly bars: readonly PlacedBar[];
  /** Offset of each capability in the configuration space, by its id or, if it is virtio's, by its type plus 256. */
  readonly capabilities: ReadonlyMap<number, number>;
  readonly #config: RegisterBus;
  readonly #common: Structure;
  readonly #notify: Structure;
  readonly #isr: Structure;
  readonly #device: Structure;
  readonly #notifyOffMultiplier: number;
  readonly #msix: Structure | undefined;

  /** @throws Error when there is no such function, or a capability is missing */
  constructor(bus: PciBus, options: PciDriverOptions = {}) {
    super();
    const { msix = false, address = 0xfe00_0000, wrap = (inner: RegisterBus) => inner } = options;
    this.#config = wrap({
      read: (offset, width) => bus.readConfig(offset, width),
      write: (offset, width, value) => {
        bus.writeConfig(offset, width, value);
      },
    });
    const id = this.#config.read(layout.PCI_VENDOR_ID, 4);
    if (id !== layout.VIRTIO_PCI_VENDOR + (layout.VIRTIO_PCI_DEVICE_BASE + VIRTIO_ID_BLOCK) * 0x1_0000) {
      throw new Error(`no virtio-pci block device: ${id.toString(16)}`);
    }
    this.bars = this.#placeBars(address);
    const banks = Array.from({ length: BARS }, (_, bar) =>
      wrap({
        read: (offset, width) => bus.readBar(bar, offset, width),
        write: (offset, width, value) => {
          bus.writeBar(bar, offset, width, value);
        },
      }),
    );
    this.capabilities = this.#findCapabilities();
    const structure = (type: number): Structure => {
      const at = this.#capability(256 + type);
      return {
        bus: banks[this.#config.read(at + layout.VIRTIO_PCI_CAP_BAR, 1)]!,
        offset: this.#config.read(at + layout.VIRTIO_PCI_CAP_OFFSET, 4),
        length: this.#config.read(at + layout.VIRTIO_PCI_CAP_LENGTH, 4),
      };
    };
    this.#common = structure(layout.VIRTIO_PCI_CAP_COMMON_CFG);
    this.#notify = structure(layout.VIRTIO_PCI_CAP_NOTIFY_CFG);
    this.#isr = structure(layout.VIRTIO_PCI_CAP_ISR_CFG);
    this.#device = structure(layout.VIRTIO_PCI_CAP_DEVICE_CFG);
    if (this.#common.length < layout.COMMON_BYTES) throw new Error('the common configuration is too short');
    const notify = this.#capability(256 + layout.VIRTIO_PCI_CAP_NOTIFY_CFG);
    this.#notifyOffMultiplier = this.#config.read(notify + layout.VIRTIO_PCI_CAP_EXTRA, 4);
    if (msix) this.#msix = this.#enableMsix(banks);
    else if (this.capabilities.has(layout.PCI_CAP_ID_MSIX)) this.writeMsixControl(0);
  }

  override get status(): number {
    return this.#read(layout.COMMON_DEVICE_STATUS, 1);
  }

  override set status(status: number) {
    this.#write(layout.COMMON_DEVICE_STATUS, 1, status);
  }

  override get offeredFeatures(): bigint {
    const words = [0, 1].map((select) => {
      this.#write(layout.COMMON_DEVICE_FEATURE_SELECT, 4, select);
      return BigInt(this.#read(layout.COMMON_DEVICE_FEATURE, 4));
    });
    return words[0]! | (words[1]! << 32n);
  }

  override writeFeatures(features: bigint): void {
    for (const select of [0, 1]) {
      const word = Number(BigInt.asUintN(32, features >> BigInt(32 * select)));
      this.#write(layout.COMMON_DRIVER_FEATURE_SELECT, 4, select);
      this.#write(layout.COMMON_DRIVER_FEATURE, 4, word);
    }
  }

  override queueSizeMax(index: number): number {
    this.#select(index);
    return this.#read(layout.COMMON_QUEUE_SIZE, 2);
  }

  override setUpQueue(index: number, addresses: VirtqueueAddresses): void {
    this.#select(index);
    this.#write(layout.COMMON_QUEUE_SIZE, 2, addresses.size);
    if (this.#msix !== undefined) this.#map(layout.COMMON_QUEUE_MSIX_VECTOR, 1 + index);
    for (const [register, address] of [
      [layout.COMMON_QUEUE_DESC, addresses.descriptorTable],
      [layout.COMMON_QUEUE_DRIVER, addresses.availRing],
      [layout.COMMON_QUEUE_DEVICE, addresses.usedRing],
    ] as const) {
      this.#write(register, 4, lowHalf(address));
      this.#write(register + 4, 4, highHalf(address));
    }
    this.#write(layout.COMMON_QUEUE_ENABLE, 2, 1);
  }

  override isQueueEnabled(index: number): boolean {
    this.#select(index);
    return this.#read(layout.COMMON_QUEUE_ENABLE, 2) === 1;
  }

  override kick(index: number): void {
    this.#select(index);
    const offset = this.#read(layout.COMMON_QUEUE_NOTIFY_OFF, 2) * this.#notifyOffMultiplier;
    if (offset + 2 > this.#notify.length) throw new Error(`queue ${index} has no doorbell`);
    this.#notify.bus.write(this.#notify.offset + offset, 2, index);
  }

  override get configGeneration(): number {
    return this.#read(layout.COMMON_CONFIG_GENERATION, 1);
  }

  override readConfig(offset: number, width: AccessWidth): number {
    return this.#device.bus.read(this.#device.offset + offset, width);
  }

  override writeConfig(offset: number, width: AccessWidth, value: number): void {
    this.#device.bus.write(this.#device.offset + offset, width, value);
  }

  /** Reads the ISR status; with MSI-X the message itself says what it is about. */
  override acknowledgeInterrupt(): InterruptCause {
    const isr = this.#isr.bus.read(this.#isr.offset, 1);
    return { queue: (isr & layout.ISR_QUEUE) !== 0, config: (isr & layout.ISR_CONFIG) !== 0 };
  }

  /** Masks or unmasks one MSI-X vector. */
  maskVector(vector: number, masked: boolean): void {
    const { bus, offset } = this.#msix!;
    bus.write(offset + vector * layout.MSIX_ENTRY_BYTES + 12, 4, masked ? 1 : 0);
  }

  /** The MSI-X control bits of the whole function: `MSIX_CONTROL_…`. */
  writeMsixControl(bits: number): void {
    const at = this.#capability(layout.PCI_CAP_ID_MSIX) + layout.MSIX_CONTROL;
    this.#config.write(at, 2, bits);
  }

  /** The message that the driver has programmed for a vector. */
  static message(vector: number): readonly [addressLow: number, addressHigh: number, data: number] {
    return [MSIX_ADDRESS_LOW + vector * 0x1000, MSIX_ADDRESS_HIGH, MSIX_DATA + vector];
  }

  protected override setUpInterrupts(): void {
    if (this.#msix !== undefined) this.#map(layout.COMMON_CONFIG_MSIX_VECTOR, 0);
  }

  /** Sizes every BAR by writing all ones, and gives each a place aligned to its size. */
  #placeBars(firstAddress: number): PlacedBar[] {
    const config = this.#config;
    const bars: PlacedBar[] = [];
    let next = firstAddress;
    for (let index = 0; index < BARS; index++) {
      const register = layout.PCI_BAR0 + 4 * index;
      config.write(register, 4, 0xffff_ffff);
      const sized = config.read(register, 4);
      if (sized === 0) continue;
      const kind = (sized & layout.PCI_BAR_IO) === 0 ? 'memory' : 'io';
      const byteLength = -(sized & (kind === 'io' ? ~3 : ~15));
      const address = kind === 'io' ? 0xe600 : Math.ceil(next / byteLength) * byteLength;
      if (kind === 'memory') next = address + byteLength;
      config.write(register, 4, address);
      bars.push({ index, kind, byteLength, address });
    }
    config.write(
      layout.PCI_COMMAND,
      2,
      layout.PCI_COMMAND_IO | layout.PCI_COMMAND_MEMORY | layout.PCI_COMMAND_MASTER,
    );
    return bars;
  }

  #findCapabilities(): Map<number, number> {
    const config = this.#config;
    const found = new Map<number, number>();
    if ((config.read(layout.PCI_STATUS, 2) & layout.PCI_STATUS_CAPABILITIES) === 0) return found;
    let at = config.read(layout.PCI_CAPABILITIES_POINTER, 1);
    // Bounded, whatever the list says: there is no room for more.
    for (let i = 0; at !== 0 && i < 64; i++) {
      const id = config.read(at, 1);
      const key = id === layout.PCI_CAP_ID_VENDOR ? 256 + config.read(at + 3, 1) : id;
      if (!found.has(key)) found.set(key, at);
      at = config.read(at + 1, 1);
    }
    return found;
  }

  /** Writes a message of its own to each table entry, unmasks it and enables MSI-X. */
  #enableMsix(banks: readonly RegisterBus[]): Structure {
    const at = this.#capability(layout.PCI_CAP_ID_MSIX);
    const vectors = (this.#config.read(at + layout.MSIX_CONTROL, 2) & 0x7ff) + 1;
    const place = this.#config.read(at + layout.MSIX_TABLE, 4);
    const bus = banks[place & 7]!;
    const table = { bus, offset: (place & ~7) >>> 0, length: vectors * layout.MSIX_ENTRY_BYTES };
    for (let vector = 0; vector < vectors; vector++) {
      const entry = table.offset + vector * layout.MSIX_ENTRY_BYTES;
      for (const [i, word] of PciDriver.message(vector).entries()) bus.write(entry + 4 * i, 4, word);
      bus.write(entry + 12, 4, 0);
    }
    this.writeMsixControl(layout.MSIX_CONTROL_ENABLE);
    return table;
  }

  /** Maps an event to a vector, and looks whether that was possible (4.1.5.1.2.2). */
  #map(register: number, vector: number): void {
    this.#write(register, 2, vector);
    if (this.#read(register, 2) !== vector) throw new Error(`the device has refused vector ${vector}`);
  }

  #capability(key: number): number {
    const at = this.capabilities.get(key);
    if (at === undefined) throw new Error(`the function has no capability ${key}`);
    return at;
  }

  #select(index: number): void {
    this.#write(layout.COMMON_QUEUE_SELECT, 2, index);
  }

  #read(register: number, width: AccessWidth): number {
    return this.#common.bus.read(this.#common.offset + register, width);
  }

  #write(register: number, width: AccessWidth, value: number): void {
    this.#common.bus.write(this.#common.offset + register, width, value);
  }
}
