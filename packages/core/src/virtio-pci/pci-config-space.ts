import { VIRTIO_ID_BLOCK } from '../virtio-blk/constants.js';
import { merged, RegisterBank } from '../virtio/register-bank.js';
import type { SavedState } from '../virtio/saved-state.js';
import type { MsixTable } from './msix-table.js';
import * as layout from './pci-layout.js';

/** A base address register: a window of the machine's address space onto the function. */
export interface PciBar {
  readonly index: number;
  readonly kind: 'io' | 'memory';
  /** A power of two, as is its address's alignment. */
  readonly byteLength: number;
}

/** A BAR and what it shows. */
export interface PciBarRegisters extends PciBar {
  readonly registers: RegisterBank;
}

export interface PciConfigSpaceOptions {
  readonly numQueues: number;
  /** The first one holds the virtio structures, the second one the MSI-X table, if any. */
  readonly bars: readonly PciBarRegisters[];
  readonly msix: MsixTable | undefined;
  /** Whether the pin is asserted, or would be if it were not disabled. */
  readonly interruptPending: () => boolean;
  /** The driver wrote something. */
  readonly written: () => void;
}

const ADDRESS_LIMIT = 0xffff_ffff;

/**
 * The function's PCI configuration space (virtio 1.3 sections 4.1.2 and 4.1.4): 256 bytes, of which a driver can write some
 * bits. Of a BAR those bits are its address; so writing all ones, the usual way, tells its size.
 */
export class PciConfigSpace extends RegisterBank {
  readonly #bytes = new Uint8Array(layout.PCI_CONFIG_BYTES);
  readonly #words = new Uint32Array(this.#bytes.buffer);
  readonly #view = new DataView(this.#bytes.buffer);
  readonly #initial: Uint32Array;
  /** Bits that the driver can write. */
  readonly #writable = new Uint32Array(layout.PCI_CONFIG_BYTES / 4);
  readonly #bars: readonly PciBarRegisters[];
  readonly #interruptPending: () => boolean;
  readonly #written: () => void;
  /** Offsets of two capabilities; 0 where there is none. */
  #accessCapability = 0;
  #msixCapability = 0;

  constructor(options: PciConfigSpaceOptions) {
    super(layout.PCI_CONFIG_BYTES);
    this.#bars = options.bars;
    this.#interruptPending = options.interruptPending;
    this.#written = options.written;
    this.#fillHeader();
    this.#fillCapabilities(options.numQueues, options.msix);
    this.#initial = this.#words.slice();
  }

  get bytes(): Uint8Array {
    return this.#bytes.slice();
  }

  get intxDisabled(): boolean {
    return (this.#command & layout.PCI_COMMAND_INTX_DISABLE) !== 0;
  }

  get msixEnabled(): boolean {
    return (this.#msixControl & layout.MSIX_CONTROL_ENABLE) !== 0;
  }

  get msixMasked(): boolean {
    return (this.#msixControl & layout.MSIX_CONTROL_FUNCTION_MASK) !== 0;
  }

  /** Where the machine sees a BAR; undefined while the driver has not enabled it, or has given it no place. */
  barAddress(index: number): number | undefined {
    const bar = this.#bars[index];
    if (bar === undefined) return undefined;
    const decode = bar.kind === 'io' ? layout.PCI_COMMAND_IO : layout.PCI_COMMAND_MEMORY;
    if ((this.#command & decode) === 0) return undefined;
    const address = (this.#words[layout.PCI_BAR0 / 4 + index]! & -bar.byteLength) >>> 0;
    // While it is sized, it seems to lie at the end of the address space.
    return address === 0 || address + bar.byteLength > ADDRESS_LIMIT ? undefined : address;
  }

  /** As at power-on. */
  reset(): void {
    this.#words.set(this.#initial);
  }

  saveState(): number[] {
    return [...this.#words];
  }

  /**
   * Checks a state and changes nothing yet.
   * @returns what takes it on
   * @throws VirtioError `ERR_STATE` for what is no state of a function with the same BARs and capabilities
   */
  prepareRestore(saved: SavedState): () => void {
    const words = saved.uints('config', this.#words.length);
    const foreign = words.findIndex((word, i) => ((word ^ this.#initial[i]!) & ~this.#writable[i]!) !== 0);
    if (foreign !== -1) {
      throw saved.mistake(`config[${foreign}] is another function's: other BARs, queues or vectors`);
    }
    return () => {
      this.#words.set(words);
    };
  }

  protected override registerAt(offset: number): number {
    return offset & ~3;
  }

  protected override registerBytes(): number {
    return 4;
  }

  protected override readRegister(register: number, mask: number): number {
    if (register === this.#accessData) return this.#readThrough(mask);
    const word = this.#words[register / 4]!;
    // Command and status are one word.
    const pending = register === layout.PCI_COMMAND && this.#interruptPending();
    return pending ? word | (layout.PCI_STATUS_INTERRUPT << 16) : word;
  }

  protected override writeRegister(register: number, value: number, mask: number): void {
    if (register === this.#accessData) {
      this.#writeThrough(value, mask);
      return;
    }
    const word = register / 4;
    this.#words[word] = merged(this.#words[word]!, value, mask & this.#writable[word]!);
    this.#written();
  }

  get #command(): number {
    return this.#view.getUint16(layout.PCI_COMMAND, true);
  }

  get #msixControl(): number {
    return this.#msixCapability === 0
      ? 0
      : this.#view.getUint16(this.#msixCapability + layout.MSIX_CONTROL, true);
  }

  /** Where the driver reads and writes through the access capability (4.1.4.9), whether the BARs are enabled or not. */
  get #accessData(): number {
    return this.#accessCapability + layout.VIRTIO_PCI_CAP_EXTRA;
  }

  /** Bytes of `pci_cfg_data` are bytes of the BAR, so that an access of some of them has its effects there and no others. */
  #readThrough(mask: number): number {
    let value = 0;
    const { registers, offset, length } = this.#window();
    for (let i = 0; i < length; i++) {
      if (((mask >>> (8 * i)) & 0xff) !== 0) value |= registers.read(offset + i, 1) << (8 * i);
    }
    return value;
  }

  #writeThrough(value: number, mask: number): void {
    const { registers, offset, length } = this.#window();
    for (let i = 0; i < length; i++) {
      if (((mask >>> (8 * i)) & 0xff) !== 0) registers.write(offset + i, 1, (value >>> (8 * i)) & 0xff);
    }
  }

  /** What the driver has the access capability point to; nothing where it points beside the BARs. */
  #window(): { registers: RegisterBank; offset: number; length: number } {
    const at = this.#accessCapability;
    const bar = this.#bars[this.#bytes[at + layout.VIRTIO_PCI_CAP_BAR]!];
    return {
      registers: (bar ?? this.#bars[0]!).registers,
      offset: this.#view.getUint32(at + layout.VIRTIO_PCI_CAP_OFFSET, true),
      length:
        bar === undefined ? 0 : Math.min(4, this.#view.getUint32(at + layout.VIRTIO_PCI_CAP_LENGTH, true)),
    };
  }

  #fillHeader(): void {
    const view = this.#view;
    view.setUint16(layout.PCI_VENDOR_ID, layout.VIRTIO_PCI_VENDOR, true);
    view.setUint16(layout.PCI_DEVICE_ID, layout.VIRTIO_PCI_DEVICE_BASE + VIRTIO_ID_BLOCK, true);
    view.setUint16(layout.PCI_STATUS, layout.PCI_STATUS_CAPABILITIES, true);
    // Revision 1: not for legacy drivers. The class code is the upper three bytes.
    view.setUint32(layout.PCI_REVISION_ID, 1 | (layout.CLASS_MASS_STORAGE_OTHER << 8), true);
    view.setUint16(layout.PCI_SUBSYSTEM_VENDOR_ID, layout.VIRTIO_PCI_VENDOR, true);
    view.setUint16(layout.PCI_SUBSYSTEM_ID, layout.VIRTIO_PCI_SUBSYSTEM, true);
    view.setUint8(layout.PCI_INTERRUPT_PIN, 1);
    this.#allow(
      layout.PCI_COMMAND,
      layout.PCI_COMMAND_IO |
        layout.PCI_COMMAND_MEMORY |
        layout.PCI_COMMAND_MASTER |
        layout.PCI_COMMAND_INTX_DISABLE,
    );
    this.#allow(layout.PCI_CACHE_LINE_SIZE, 0xff);
    this.#allow(layout.PCI_INTERRUPT_LINE, 0xff);
    for (const bar of this.#bars) {
      const register = layout.PCI_BAR0 + 4 * bar.index;
      view.setUint32(register, bar.kind === 'io' ? layout.PCI_BAR_IO : 0, true);
      this.#allow(register, -bar.byteLength);
    }
  }

  #fillCapabilities(numQueues: number, msix: MsixTable | undefined): void {
    const view = this.#view;
    /** Where the next capability's place is noted. */
    let link = layout.PCI_CAPABILITIES_POINTER;
    let next = 0x40;
    const add = (id: number, bytes: number): number => {
      const at = next;
      view.setUint8(link, at);
      view.setUint8(at, id);
      link = at + 1;
      next += bytes;
      return at;
    };
    const structure = (type: number, offset: number, length: number, extra: number = 0): number => {
      const bytes = layout.VIRTIO_PCI_CAP_BYTES + extra;
      const at = add(layout.PCI_CAP_ID_VENDOR, bytes);
      view.setUint8(at + 2, bytes);
      view.setUint8(at + 3, type);
      view.setUint32(at + layout.VIRTIO_PCI_CAP_OFFSET, offset, true);
      view.setUint32(at + layout.VIRTIO_PCI_CAP_LENGTH, length, true);
      return at;
    };
    structure(layout.VIRTIO_PCI_CAP_COMMON_CFG, 0, layout.COMMON_BYTES);
    const doorbells = numQueues * layout.NOTIFY_OFF_MULTIPLIER;
    const notify = structure(layout.VIRTIO_PCI_CAP_NOTIFY_CFG, layout.STRUCTURE_NOTIFY, doorbells, 4);
    view.setUint32(notify + layout.VIRTIO_PCI_CAP_EXTRA, layout.NOTIFY_OFF_MULTIPLIER, true);
    structure(layout.VIRTIO_PCI_CAP_ISR_CFG, layout.STRUCTURE_ISR, 1);
    structure(layout.VIRTIO_PCI_CAP_DEVICE_CFG, layout.STRUCTURE_DEVICE, layout.STRUCTURE_DEVICE_BYTES);
    const access = structure(layout.VIRTIO_PCI_CAP_PCI_CFG, 0, 0, 4);
    this.#accessCapability = access;
    this.#allow(access + layout.VIRTIO_PCI_CAP_BAR, 0xff);
    this.#allow(access + layout.VIRTIO_PCI_CAP_OFFSET, -1);
    this.#allow(access + layout.VIRTIO_PCI_CAP_LENGTH, -1);
    if (msix === undefined) return;
    this.#msixCapability = add(layout.PCI_CAP_ID_MSIX, layout.MSIX_CAP_BYTES);
    const { index } = this.#bars[1]!;
    view.setUint16(this.#msixCapability + layout.MSIX_CONTROL, msix.vectors - 1, true);
    view.setUint32(this.#msixCapability + layout.MSIX_TABLE, index, true);
    view.setUint32(this.#msixCapability + layout.MSIX_PBA, msix.pbaOffset | index, true);
    this.#allow(
      this.#msixCapability,
      (layout.MSIX_CONTROL_ENABLE | layout.MSIX_CONTROL_FUNCTION_MASK) << (8 * layout.MSIX_CONTROL),
    );
  }

  /** Lets the driver write these bits of the word at `offset`; of a byte they may be any, whatever its place in its word. */
  #allow(offset: number, bits: number): void {
    this.#writable[offset >>> 2]! |= bits << (8 * (offset & 3));
  }
}
